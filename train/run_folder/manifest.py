"""RUN/manifest.json and RUN/config.yaml: what made a run, enough to make it again."""

import json
import os
import platform
import subprocess
from collections.abc import Mapping
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.whole import write_whole
from pinfm.embeddings.sharded.hardware import machine_gib
from pinfm.model.schema import InputSchema
from pinfm.model.stored.run_folder import MANIFEST, RunFolder, tables_to_json
from pinfm.train.build import Tables
from pinfm.train.config import RunConfig
from pinfm.train.run_folder.flat import flat

PACKAGES = ("pinfm", "torch", "torchrec", "fbgemm-gpu", "fbgemm-gpu-cpu", "torchx", "numpy", "pyarrow", "duckdb")


# What a resumed run may set anew: where it runs, how often it reports, and how far it goes.
MAY_CHANGE = {
    f"config.{name}"
    for name in (
        *("device", "checkpoint_steps", "log_steps"),
        *("pretrain.epochs", "finetune.epochs", "item_table.sharding"),
        *("pretrain.validation.patience", "finetune.validation.patience"),
    )
}


def write_manifest(
    run: Path, kind: str, config: RunConfig, schema: InputSchema, tables: Tables, origin: dict[str, Any]
) -> None:
    """Writes both files.

    Args:
        run: the run folder, which exists.
        kind: `pretrain` or `finetune`.
        config: the run's settings.
        schema: its inputs and tasks.
        tables: its id tables.
        origin: what else it was made from: dataset, pretrained run, number of ranks.
    """
    manifest = {
        "kind": kind,
        "config": asdict(config),
        "schema": asdict(schema),
        "tables": tables_to_json(tables.item, tables.features),
        "seed": config.seed,
        **_made_with(),
        **origin,
    }
    _write(run, config, manifest)


def note_resume(run: RunFolder, config: RunConfig, step: int, processes: int) -> None:
    """Writes down that a run went on, under which settings and where: both files then tell the settings it has now.

    Args:
        run: the run as it was.
        config: the settings given now.
        step: that it goes on from.
        processes: ranks.
    """
    before, now = (flat(json.loads(json.dumps(values))) for values in (run.manifest["config"], asdict(config)))
    resumed = {
        "step": step,
        "changed": {name: {"from": before[name], "to": value} for name, value in now.items() if before[name] != value},
        "processes": processes,
        **_made_with(),
    }
    earlier = run.manifest.get("resumed")
    earlier = earlier if isinstance(earlier, list) else []
    _write(run.path, config, {**run.manifest, "config": asdict(config), "resumed": [*earlier, resumed]})


def require_same_run(run: RunFolder, kind: str, config: RunConfig, origin: dict[str, Any]) -> None:
    """A run goes on as what it began as, but for its length, its rhythm and its hardware.

    Args:
        run: the run as it began.
        kind: `pretrain` or `finetune`.
        config: the settings given now.
        origin: see `write_manifest`; `dataset` and `pretrained` are compared.

    Raises:
        UserError: something differs.
    """
    now = json.loads(json.dumps({"kind": kind, **origin, "config": asdict(config)}))
    compared = ("kind", "dataset", "pretrained", "config")
    began, given = (flat({key: values.get(key) for key in compared}) for values in (run.manifest, now))
    unknown = [name.removeprefix("config.") for name in given if name not in began]
    if unknown:
        raise UserError(
            f"{run.path} was begun by an older pinfm, which had no {', '.join(unknown)}; "
            "finish it with that version, or give another --out."
        )
    changed = [name for name in sorted(given | began) if name not in MAY_CHANGE and given.get(name) != began.get(name)]
    if changed:
        name = changed[0]
        difference = f"{name.removeprefix('config.')} {began.get(name)}, not {given.get(name)}"
        others = f" ({len(changed) - 1} more differ)" if len(changed) > 1 else ""
        raise UserError(
            f"{run.path} was begun with {difference}{others}; "
            f"resume with --config {run.path}/config.yaml and what else it was begun with, or give another --out."
        )


def _write(run: Path, config: RunConfig, manifest: Mapping[str, Any]) -> None:
    """Each file appears whole: a run without its manifest could never go on."""
    # The manifest last: it is what makes the folder a run.
    write_whole(run / "config.yaml", yaml.safe_dump(_plain(asdict(config)), sort_keys=False))
    write_whole(run / MANIFEST, json.dumps(manifest, indent=2) + "\n")


def _made_with() -> dict[str, Any]:
    return {"versions": versions(), "git": git_revision(), "hardware": hardware()}


def versions() -> dict[str, str]:
    """The installed versions that a result may depend on."""
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_revision() -> dict[str, Any] | None:
    """Revision of the source tree this package runs from and whether it has changes; None for an installed wheel."""
    folder = Path(__file__).parent
    try:
        revision = _git(folder, "rev-parse", "HEAD")
        dirty = bool(_git(folder, "status", "--porcelain", "--untracked-files=no"))
    except (OSError, subprocess.CalledProcessError):
        return None
    return {"revision": revision, "dirty": dirty}


def hardware() -> dict[str, Any]:
    """Processor, cores, memory and accelerators."""
    return {
        "machine": platform.machine(),
        "cores": os.cpu_count(),
        "memory_gib": round(machine_gib(), 1),
        "gpus": [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())],
    }


def _git(folder: Path, *arguments: str) -> str:
    return subprocess.run(
        ["git", "-C", str(folder), *arguments], capture_output=True, text=True, check=True
    ).stdout.strip()


def _plain(value: Any) -> Any:
    """Tuples as lists, which is how YAML writes sequences."""
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    return value
