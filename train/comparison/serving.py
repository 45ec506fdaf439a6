"""What a request costs with each form's artefact, measured by `pinfm latency` in a process of its own."""

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pinfm.embeddings.errors import UserError, require_at_least, require_types
from pinfm.embeddings.files.whole import write_whole
from pinfm.train.comparison.comparison import Comparison
from pinfm.train.comparison.places import Places
from pinfm.train.launch.statuses import MISTAKE

FILE = "latency.json"


@dataclass(frozen=True, kw_only=True)
class Serving:
    """How the artefacts are timed.

    Args:
        candidates: of each request.
        requests: timed of each artefact, over all rounds.
        rounds: turns of each artefact.
        threads: of the process that serves.
    """

    candidates: int = 1000
    requests: int = 100
    rounds: int = 5
    threads: int = 2

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least("", 1, **asdict(self))


def measured_latency(comparison: Comparison, serving: Serving) -> dict[str, Any]:
    """Times the artefacts of all forms, which take turns; once for the same artefacts.

    Returns:
        Form -> what `pinfm latency` reports of its artefact.

    Raises:
        UserError: the process ended by a mistake of the user's.
    """
    kept_in = comparison.out / FILE
    models = {name: Places(comparison.out, name).model for name in comparison.forms}
    made = {name: (model / "manifest.json").stat().st_mtime_ns for name, model in models.items()}
    asked = {"serving": asdict(serving), "models": made}
    if kept_in.exists():
        kept: dict[str, Any] = json.loads(kept_in.read_text())
        if kept["asked"] == asked:
            forms: dict[str, Any] = kept["forms"]
            return forms
    flags = [f"--{name}={value}" for name, value in asdict(serving).items()]
    found = _pinfm_latency(comparison.out, [*map(str, models.values()), *flags])
    forms = {name: found[str(model)] for name, model in models.items()}
    write_whole(kept_in, json.dumps({"asked": asked, "forms": forms}, indent=2) + "\n")
    return forms


def _pinfm_latency(out: Path, words: Sequence[str]) -> dict[str, Any]:
    """Model folder -> what the verb says of it. Its progress bar is seen, its table is not."""
    report = out / "logs" / FILE
    command = [sys.executable, "-m", "pinfm.train.cli.main", "latency", *words, "--report", str(report)]
    status = subprocess.run(command, stdout=subprocess.DEVNULL).returncode
    if status == MISTAKE:
        raise UserError("the artefacts could not be timed, as told above; call again once that is mended.")
    if status:
        raise RuntimeError(f"`pinfm latency` failed with status {status}")
    models: dict[str, Any] = json.loads(report.read_text())["models"]
    return models
