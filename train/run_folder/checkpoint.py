"""Checkpoints by torch.distributed.checkpoint: written by any number of ranks, read by any other."""

import json
import shutil
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch.distributed as dist
import torch.distributed.checkpoint as dcp
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import CombinedOptimizer

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.whole import sync, sync_tree
from pinfm.model.encoder import is_pretrained
from pinfm.model.stored.loading import load_values
from pinfm.model.stored.run_folder import (
    CHECKPOINTS,
    ITEM_TABLES,
    METADATA,
    TABLES,
    RunFolder,
    Which,
    last_line,
    tables_to_json,
)
from pinfm.model.stored.sums import file_sums, require_unchanged, write_sums
from pinfm.model.stored.validated import VALIDATION, Validated
from pinfm.model.stored.weights import readable
from pinfm.train.distributed import by_first_rank, gather_objects, is_first_rank, together
from pinfm.train.ids.maps import Ids

# What torch.distributed.checkpoint says of a state that is not the checkpoint's.
DOES_NOT_FIT = ("Size mismatch", "Missing key")


@dataclass(kw_only=True)
class TrainState:
    """Everything that a run continues from.

    Args:
        model: the sharded module.
        optimizer: of its dense weights and tables.
        ids: the maps of managed ids.
        step: steps done.
        validated: what its evaluations have found; None where it has none.
    """

    model: DistributedModelParallel
    optimizer: CombinedOptimizer
    ids: Ids
    step: int = 0
    validated: Validated | None = None

    def state_dict(self) -> dict[str, Any]:
        """The state as torch.distributed.checkpoint takes it."""
        return {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            **_maps(self.ids),
        }


def save(state: TrainState, run: Path) -> Path:
    """Writes RUN/checkpoints/step-*, under another name until it is whole. Every rank must call it."""
    path = checkpoint_path(run, state.step)
    unfinished = path.with_name(f"unfinished-{path.name}")

    def finish() -> None:
        tables = tables_to_json(state.ids.item, state.ids.features)
        told = {TABLES: tables}
        if state.validated is not None:
            told[VALIDATION] = state.validated.to_json()
        for name, values in told.items():
            (unfinished / name).write_text(json.dumps(values, indent=2) + "\n")
        write_sums(unfinished, sums | file_sums([unfinished / METADATA, *(unfinished / name for name in told)]))
        sync_tree(unfinished)
        shutil.rmtree(path, ignore_errors=True)
        unfinished.rename(path)
        sync(path.parent)

    try:
        dcp.save(state.state_dict(), checkpoint_id=unfinished)
        # Each rank its own files, which it can read however the others are reached.
        own: dict[str, list[int]] = {}
        together(lambda: own.update(file_sums(unfinished.glob(f"__{dist.get_rank()}_*"))))
        sums = dict(item for of_rank in gather_objects(own) for item in of_rank.items())
        by_first_rank(finish)
    finally:
        if is_first_rank():
            shutil.rmtree(unfinished, ignore_errors=True)  # of a disk that is full, for one
    return path


def checkpoint_path(run: Path, step: int) -> Path:
    """Where the checkpoint of a step stands."""
    return run / CHECKPOINTS / f"step-{step:08d}"


def remove(run: Path, steps: Iterable[int]) -> None:
    """Removes the checkpoints of some steps, where they are there. Every rank must call it."""

    def remove_all() -> None:
        for path in (checkpoint_path(run, step) for step in steps):
            if path.is_dir():
                # Under the name that the next run removes, if this one is killed meanwhile.
                shutil.rmtree(path.rename(path.with_name(f"unfinished-{path.name}")))

    by_first_rank(remove_all)


def resume(state: TrainState, run: RunFolder) -> None:
    """Continues from the newest checkpoint of a run, at whatever number of ranks wrote it."""
    _initialise_optimizer_state(state)
    values = state.state_dict()
    with readable(unchanged(run, "newest")) as path:
        load_values(values, path)
    state.model.load_state_dict(values["model"])
    state.optimizer.load_state_dict(values["optimizer"])
    state.ids.load_state_dict(values.get("ids", {}))
    state.step, state.validated = values["step"], run.validated() or state.validated


def load_model(model: DistributedModelParallel, ids: Ids, run: RunFolder, which: Which) -> None:
    """Loads weights and maps of a run's checkpoint into a module of the same shape.

    Args:
        model: the sharded module.
        ids: its maps.
        run: the run.
        which: of its checkpoints.

    Raises:
        UserError: there is none, or it can't be read.
    """
    values = {"model": model.state_dict(), **_maps(ids)}
    with readable(unchanged(run, which)) as path:
        load_values(values, path)
    model.load_state_dict(values["model"])
    ids.load_state_dict(values.get("ids", {}))


def load_pretrained(model: DistributedModelParallel, ids: Ids, run: RunFolder, sums_scale: float) -> list[str]:
    """Copies item tables and tower from a pretraining run into a fine-tuning module, and the map of item ids.

    The sums of Adagrad come with the tables: from sums of zero, the first step would move every row that it touches by
    about the whole learning rate in each component, which is more than there is in a pretrained row.

    Args:
        model: the sharded fine-tuning module.
        ids: the fine-tuning run's maps.
        run: the pretraining run, whose best checkpoint is read.
        sums_scale: what Adagrad's sums are multiplied by.

    Returns:
        The names that were copied.

    Raises:
        UserError: the shapes differ, or the checkpoint can't be read.
    """
    state = model.state_dict()
    wanted = {
        name: tensor for name, tensor in state.items() if name.startswith(f"{ITEM_TABLES}.") or is_pretrained(name)
    }
    fused = model.fused_optimizer.state_dict()
    sums = {f"tables.{name}": part for name, part in fused["state"].items() if name.startswith(f"{ITEM_TABLES}.")}
    values: dict[str, Any] = {"model": wanted, "optimizer": {"state": sums}}
    if "item" in ids.managed:
        values["ids"] = {"item": ids.managed["item"].state_dict()}
    with readable(unchanged(run, "best")) as path:
        try:
            load_values(values, path)
        except (dcp.CheckpointException, ValueError, RuntimeError) as error:
            if not any(words in str(error) for words in DOES_NOT_FIT):
                raise
            raise UserError(
                f"the tower of {run.path} does not fit this config ({last_line(error)}); "
                "use the same tower, item_table and dataset vocabulary as the pretraining run."
            ) from error
    # Sharded collections take a whole state dict only.
    model.load_state_dict({**state, **wanted})
    for sharded in (tensor for of_table in sums.values() for tensor in of_table.values()):
        for shard in sharded.local_shards():
            shard.tensor.mul_(sums_scale)
    model.fused_optimizer.load_state_dict(fused)
    ids.load_state_dict(values.get("ids", {}))
    return sorted(wanted)


def unchanged(run: RunFolder, which: Which) -> Path:
    """A checkpoint whose files the ranks have read through, each its share. Every rank must call it."""
    checkpoint = run.checkpoint_at(which)
    together(lambda: require_unchanged(checkpoint, dist.get_rank(), dist.get_world_size()))
    return checkpoint


def _maps(ids: Ids) -> dict[str, Any]:
    """The part of a checkpoint that holds maps; torch.distributed.checkpoint can't read an empty one."""
    return {"ids": ids.state_dict()} if ids.managed else {}


def _initialise_optimizer_state(state: TrainState) -> None:
    """Makes the optimizer hold the tensors that loading fills; AdamW makes them at its first step otherwise."""
    for _, optimizer in state.optimizer.optimizers:
        if hasattr(optimizer, "init_state"):
            optimizer.init_state()
