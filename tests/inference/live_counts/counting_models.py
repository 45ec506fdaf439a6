"""Model folders that ask for counters, without a model."""

import json

from pinfm.inference.signature import Signature, sha256
from pinfm.model.schema import Feature, InputSchema


def schema_with(spec, ids):
    names = spec.names() if spec else ()
    return InputSchema(
        actions=("click",),
        positive_actions=("click",),
        surfaces=(),
        tasks=("click",),
        features=tuple(Feature(name=name, kind="dense", scope="candidate") for name in names),
        ids=ids,
        live_counts=spec,
    )


def write_model(folder, signature):
    """A folder that holds a signature and nothing to score with."""
    folder.mkdir()
    (folder / "scoring.pt").touch()
    (folder / "signature.json").write_text(json.dumps(signature))
    digests = {name: sha256(folder / name) for name in ("scoring.pt", "signature.json")}
    (folder / "manifest.json").write_text(json.dumps({"sha256": digests}))
    return folder


def model_of(folder, spec, ids=None):
    """Of a model with these counters and ways to write ids."""
    return write_model(folder, Signature.of(schema_with(spec, ids or {}), 8, 0).to_json())
