"""`pinfm export`: a fine-tuned run in, a model folder out, checked before it is written."""

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.new_folder import new_folder
from pinfm.embeddings.files.piped import piped
from pinfm.embeddings.one_device.served import ServedTable
from pinfm.inference.adaptation.change import check_change
from pinfm.inference.adaptation.reference import kept_reference
from pinfm.inference.aoti.cpu import require_compiler
from pinfm.inference.aoti.parity import check_packages
from pinfm.inference.artifact import Scorer, load, write_checksums, write_json
from pinfm.inference.dense.kept import kept_plan
from pinfm.inference.dense.pack import pack_tower, packed_names
from pinfm.inference.dense.plan import Plan
from pinfm.inference.folders import MANIFEST, MODULE, SIGNATURE, exportable_run
from pinfm.inference.index.build import MEAN_USER, mean_user_vector, write_index
from pinfm.inference.module import ScoringModule
from pinfm.inference.options import ExportOptions
from pinfm.inference.parity import BATCH_SIZE, check_parity, kept_requests
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import input_columns
from pinfm.inference.signature import Signature
from pinfm.inference.tables import TABLES, TableFile, place_tables
from pinfm.inference.write_tables import write_tables
from pinfm.model.adaptation.adapted import build_adaptation
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference
from pinfm.model.ranking.adapted import AdaptedRanker
from pinfm.model.ranking.joint import FusedRanker, build_model
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES, RunFolder
from pinfm.model.stored.weights import read_weights

# What hosts call or read beside `forward`, which freezing would take away.
STAGES = ["encode", "score_encoded", "user_vectors", "catalogue_vectors", "has_row", "looked_up"]
PRESERVED = ["place", "item_vectors", "trust", *STAGES, "table_files", "item_ids", "tasks", "has_tower"]
# What signature.json says of it; of a model without a tower, null.
RETRIEVAL = {
    "index": "index/index.json",
    "inputs": ["request_timestamp", "history_lengths", "history_*"],
    "asked": ["exclude_item_id", "exclude_lengths", "filter_ATTRIBUTE", "filter_ATTRIBUTE_lengths"],
    "outputs": "items of each request (int64), their ids (int64), best first, and inner products (float32)",
}
DENSE_DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16}


def export(run_path: Path, out: Path, options: ExportOptions | None = None) -> dict[str, Any]:
    """Exports a fine-tuned run: its best checkpoint, or its newest.

    Args:
        run_path: the run folder; it holds real requests with the run's own scores.
        out: the model folder to write; may exist if it is empty.
        options: which checkpoint, precisions, and what is done about histories; the best, all fp32 and nothing where
            None.

    Returns:
        The manifest's `parity`; see `check_parity`.

    Raises:
        UserError: the run can't be exported, or not so, or `out` exists.
        ParityError: artefact and run differ by more than the precisions allow, or rounding or adaptation costs a task
            more than `max_auc_loss`; nothing is written.
    """
    options = options or ExportOptions()
    if options.compiles:
        require_compiler()
    run = exportable_run(run_path, options.adapt, options.dense_precision)
    if options.index is not None and not run.model.use_tower:
        raise UserError(
            f"{run_path} was trained with use_tower: false, so it makes no vectors of items; export without --index."
        )
    with new_folder(out) as unfinished:
        return _write(run, unfinished, options)


def scoring_module(run: RunFolder, options: ExportOptions) -> ScoringModule:
    """The run's dense model from a checkpoint, in evaluation mode, with tables that have no rows yet.

    Args:
        run: a fine-tuning run.
        options: which checkpoint, and precisions.
    """
    items = ServedTable(run.item_table, options.precision, ITEM_TABLES)
    features = {table.name: ServedTable(table, options.precision, FEATURE_TABLES) for table in run.feature_tables}
    model = build_model(run.model, run.schema, items.dim, features["user_id"].dim)
    model.load_state_dict(read_weights(run, model, "objective.model.", run.checkpoint_at(options.checkpoint)))
    checks = InputChecks(input_columns(run.schema), run.manifest["config"]["max_history"], clock_start(run))
    dtype = DENSE_DTYPES.get(options.dense_precision, torch.float32)  # bytes stand between layers in float32
    return ScoringModule(model, items, features, run.schema, checks, dtype).eval()


def packed_module(run: RunFolder, options: ExportOptions, plan: Plan | None) -> ScoringModule:
    """`scoring_module`, its layers packed as planned; as they are where there is no plan."""
    module = scoring_module(run, options)
    if plan is not None:
        assert isinstance(module.model, FusedRanker)
        pack_tower(module.model.encoder, plan)
    return module


def clock_start(run: RunFolder) -> int:
    """Unix seconds of the first time of training; 0 where the manifest does not tell."""
    dataset = run.manifest.get("dataset") or {}
    start, _ = dataset.get("splits", {}).get("train") or dataset.get("time_span") or (0, 0)
    return int(start)


def save_module(module: ScoringModule, path: Path) -> None:
    """Writes a module as TorchScript; from here on it wants no gradient, or hosts without no_grad would keep one."""
    module.requires_grad_(False)
    for tensor in (*module.parameters(), *module.buffers()):
        # A table that is still to be placed: of no memory torch.jit.save writes nothing and moves on in the file, which
        # no pipe can, and what it throws ends the process. One element's memory is written like any other.
        if not tensor.untyped_storage().nbytes():
            tensor.untyped_storage().resize_(tensor.element_size())
    frozen = torch.jit.freeze(torch.jit.script(module), preserved_attrs=[*PRESERVED, *packed_names(module)])
    with piped(path) as pipe:
        torch.jit.save(frozen, str(pipe))


def adapt_module(module: ScoringModule, config: VectorAdaptationConfig | TrustConfig, reference: Reference) -> None:
    """Makes a scoring module adapt the histories that it is given.

    Args:
        module: with a tower, not adapted yet, in evaluation mode.
        config: of the form of adaptation.
        reference: from `kept_reference`.
    """
    assert isinstance(module.model, FusedRanker)
    module.model = AdaptedRanker(module.model, build_adaptation(module.model.encoder, reference, config)).eval()


def _write(run: RunFolder, folder: Path, options: ExportOptions) -> dict[str, Any]:
    requests = kept_requests(run, options.checkpoint)
    files = write_tables(run, folder, options.precision, options.checkpoint)
    plan = _plan(run, folder, files, options, requests)
    scorer, manifest = _saved(run, folder, files, options, plan, None)
    manifest["parity"] = check_parity(scorer, requests, options)
    if options.adapt != "none":
        plain = scorer.score(requests, BATCH_SIZE)
        del scorer  # or its tables would be there twice
        module = packed_module(run, options, plan)
        place_tables(module, folder, files)
        reference = kept_reference(module, run, requests)
        scorer, adapted = _saved(run, folder, files, options, plan, reference)
        adapted["adaptation"] |= {
            "reference": {"items": len(reference.item_id), "states": len(reference.states)},
            "change": check_change(scorer, plain, requests, options),
        }
        manifest |= adapted
    manifest[MEAN_USER] = mean_user_vector(scorer, requests)
    if options.layout == "whole":
        shutil.rmtree(folder / TABLES)
    if options.compiles:
        manifest["aoti"] = _compiled(run, folder, options, manifest)
        packages = load(folder, "aoti")
        manifest["aoti"]["parity"] = check_packages(
            scorer, packages, requests, exact_tables=options.precision == "fp32"
        )
    write_json(folder / MANIFEST, manifest)
    if options.index is not None:
        write_index(scorer, options.index)
    parity: dict[str, Any] = manifest["parity"]
    return parity


def _compiled(run: RunFolder, folder: Path, options: ExportOptions, manifest: dict[str, Any]) -> dict[str, Any]:
    """Writes compiled packages, and tells the manifest's `aoti`."""
    from pinfm.inference.aoti.write import write_packages  # reads the compiler's modules, which takes a second

    listed = write_packages(scoring_module(run, options), folder)
    write_json(folder / MANIFEST, {**manifest, "aoti": listed})
    return listed


def _plan(
    run: RunFolder, folder: Path, files: Sequence[TableFile], options: ExportOptions, requests: pd.DataFrame
) -> Plan | None:
    """Which layers are packed, by what the run's requests tell; None where the precision packs none."""
    if options.dense_precision != "int8":
        return None
    module = scoring_module(run, options)
    place_tables(module, folder, files)
    return kept_plan(module, run, requests)


def _saved(
    run: RunFolder,
    folder: Path,
    files: Sequence[TableFile],
    options: ExportOptions,
    plan: Plan | None,
    reference: Reference | None,
) -> tuple[Scorer, dict[str, Any]]:
    """Writes all but the tables, and loads it; adapting histories where there is a reference. Tells the manifest."""
    module, config = packed_module(run, options, plan), options.adaptation()
    if config is not None and reference is not None:
        adapt_module(module, config, reference)
    listed = files if options.layout == "apart" else []
    if options.layout == "whole":
        place_tables(module, folder, files)
    module.table_files = [file.to_row() for file in listed]
    save_module(module, folder / MODULE)
    del module  # or its tables would be there twice
    adaptation = {"form": options.adapt, "settings": None if config is None else asdict(config)}
    signature = Signature.of(run.schema, run.manifest["config"]["max_history"], clock_start(run))
    retrieval = RETRIEVAL if run.model.use_tower else None
    write_json(folder / SIGNATURE, {**signature.to_json(), "adaptation": adaptation, "retrieval": retrieval})
    manifest: dict[str, Any] = {
        "sha256": write_checksums(folder),
        "tables": [file.to_json() for file in listed],
        "layout": options.layout,
        "precision": options.precision,
        "dense_precision": options.dense_precision,
        "dense_layers": None if plan is None else {name: layer.to_json() for name, layer in plan.items()},
        "adaptation": dict(adaptation),
        "versions": {package: version(package) for package in ("pinfm", "torch")},
        "source_run": {
            "path": str(run.path.resolve()),
            "checkpoint": run.checkpoint_at(options.checkpoint).name,
            **{key: run.manifest.get(key) for key in ("config", "dataset", "versions", "git", "hardware", "seed")},
        },
    }
    write_json(folder / MANIFEST, manifest)
    return load(folder), manifest
