"""RUN/manifest.json and RUN/config.yaml: what made a run, enough to make it again."""

import json
import os
import platform
import subprocess
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
import yaml

from pinfm.model.run_folder import MANIFEST
from pinfm.model.schema import InputSchema
from pinfm.train.build import Tables
from pinfm.train.config import RunConfig

PACKAGES = ("pinfm", "torch", "torchrec", "fbgemm-gpu", "fbgemm-gpu-cpu", "torchx", "numpy", "pyarrow", "duckdb")


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
        origin: what else it was made from: dataset, pretrained run, number of ranks, device.
    """
    (run / "config.yaml").write_text(yaml.safe_dump(_plain(asdict(config)), sort_keys=False))
    manifest = {
        "kind": kind,
        "config": asdict(config),
        "schema": asdict(schema),
        "tables": {"item": asdict(tables.item), "features": [asdict(table) for table in tables.features]},
        "seed": config.seed,
        "versions": versions(),
        "git": git_revision(),
        "hardware": hardware(),
        **origin,
    }
    (run / MANIFEST).write_text(json.dumps(manifest, indent=2) + "\n")


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
    """Processor, cores and accelerator."""
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {"machine": platform.machine(), "cores": os.cpu_count(), "gpus": gpus}


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
