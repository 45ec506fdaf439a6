"""What a run's checkpoints hold: weights by name, and the rows that managed ids have."""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
import torch.distributed.checkpoint as dcp
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.rows import NO_ID
from pinfm.embeddings.specs import IdTable
from pinfm.model.stored.loading import load_values
from pinfm.model.stored.run_folder import RunFolder, unreadable
from pinfm.model.stored.sums import require_unchanged


def read_weights(run: RunFolder, module: nn.Module, prefix: str, checkpoint: Path | None = None) -> dict[str, Tensor]:
    """Reads a module's weights from a checkpoint, whatever number of ranks wrote it.

    Args:
        run: the run.
        module: its state dict says which names and shapes are wanted; it is left alone.
        prefix: of these names in the training module.
        checkpoint: which one; the best where None, see `Which`.

    Returns:
        A state dict for `module`, on the CPU.

    Raises:
        UserError: there is no checkpoint, or it can't be read.
    """
    names = module.state_dict()
    wanted = {"model": {prefix + name: torch.empty_like(tensor, device="cpu") for name, tensor in names.items()}}
    with readable(_chosen(run, checkpoint)) as path:
        load_values(wanted, path, no_dist=True)
    return {name: wanted["model"][prefix + name] for name in names}


def read_id_map(run: RunFolder, table: IdTable, checkpoint: Path | None = None) -> Tensor:
    """Which row each id has, of a table whose ids are managed.

    Args:
        run: the run.
        table: of this run.
        checkpoint: which one; the best where None, see `Which`.

    Returns:
        (2, M) int64: ids, ascending, and their rows.

    Raises:
        UserError: there is no checkpoint, or it can't be read.
    """
    whole_2R = torch.empty(2, table.rows, dtype=torch.int64)
    ids_R, rows_R = whole_2R
    with readable(_chosen(run, checkpoint)) as path:
        load_values({"ids": {table.name: {"map": {"ids": ids_R, "rows": rows_R}}}}, path, no_dist=True)
    # Free rows stand last, as NO_ID is the greatest.
    return whole_2R[:, : int((ids_R != NO_ID).sum())]


@contextmanager
def readable(checkpoint: Path) -> Iterator[Path]:
    """Turns what torch raises for a torn or foreign checkpoint, which is no Exception, into a UserError."""
    disabled = logging.root.manager.disable
    # torch logs the traceback of what it raises a moment later.
    logging.disable(max(disabled, logging.WARNING))
    try:
        yield checkpoint
    except (MemoryError, UserError):
        raise
    except (dcp.CheckpointException, Exception) as error:  # a torn pickle may raise anything
        raise unreadable(checkpoint, error) from error
    finally:
        logging.disable(disabled)


def _chosen(run: RunFolder, checkpoint: Path | None) -> Path:
    chosen = run.checked(checkpoint) if checkpoint else run.checkpoint_at("best")
    require_unchanged(chosen)
    return chosen
