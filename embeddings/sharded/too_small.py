"""Tables that do not fit: what is short, by how much, and what would fit."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace

from torch import nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.hardware import GIB, MOST_RANKS, Hardware
from pinfm.embeddings.sharded.sub_tables import collections_of, table_bytes
from pinfm.embeddings.sharded.versions import require_tested_versions

require_tested_versions()

from torchrec.distributed.planner.types import PlannerError, PlannerErrorType  # noqa: E402
from torchrec.modules.embedding_configs import DataType  # noqa: E402

# Share of each rank's memory that is left to the dense model, activations and the framework.
RESERVED_SHARE = 0.15


class DoesNotFitError(UserError):
    """The tables need more memory than there is.

    Args:
        short: what is short, and by how much.
        mends: what would fit.
    """

    def __init__(self, short: str, mends: Sequence[str]) -> None:
        super().__init__(f"{short}; {', or '.join(mends)}.")
        self.short, self.mends = short, mends

    def __reduce__(self) -> tuple[type, tuple[str, Sequence[str]]]:
        return DoesNotFitError, (self.short, self.mends)


def too_small(
    error: PlannerError, model: nn.Module, hardware: Hardware, fits: Callable[[Hardware], bool], *, training: bool
) -> UserError:
    """The error that tells a user what TorchRec's planner found.

    Args:
        error: the planner's.
        model: holds its collections on the meta device.
        hardware: planned for.
        fits: whether there is a plan for other hardware; every mend that is offered was tried.
        training: on this very hardware, which has no host memory for the tables of GPUs.
    """
    if error.error_type not in (
        PlannerErrorType.INSUFFICIENT_STORAGE,
        PlannerErrorType.PARTITION,
        PlannerErrorType.STRICT_CONSTRAINTS,
    ):
        return UserError(f"TorchRec's planner found no plan: {' '.join(str(error).split())}")
    sizes = {name: (weights + state) / GIB for name, (weights, state) in table_bytes(model).items()}
    needed, largest = sum(sizes.values()), max(sizes, key=lambda name: sizes[name])
    on_gpus = hardware.device == "cuda"
    own, host = (hardware.hbm_gib, hardware.host_gib) if on_gpus else (hardware.host_gib, 0.0)
    per_rank = own * (1 - RESERVED_SHARE) + host
    free = per_rank * hardware.world_size
    if error.error_type == PlannerErrorType.STRICT_CONSTRAINTS and sizes[largest] > per_rank:
        return DoesNotFitError(
            f"{largest} needs {sizes[largest]:.1f} GiB with its optimizer, a rank has {per_rank:.1f} GiB for tables",
            ["cut it over the ranks with item_table.sharding row_wise", "lower item_table.rows"],
        )

    of_host = f", and {host:.1f} of the host" if host else ""
    memory = f"{own:.1f} GiB each, less {RESERVED_SHARE:.0%} for the dense model{of_host}"
    short = f"{needed - free:.1f} GiB short" if needed > free else f"too few for pieces of {sizes[largest]:.1f} GiB"
    mends = [
        *_more_ranks(hardware, needed / per_rank, fits, machines=training and not on_gpus),
        *_smaller_tables(model, hardware, free / needed, fits),
    ]
    if on_gpus and not training:
        mends += _host_memory(hardware, (needed - free) / hardware.world_size, sizes[largest], fits)
    return DoesNotFitError(
        f"the id tables need {needed:.1f} GiB with their optimizer, and {hardware.world_size} rank(s) have "
        f"{free:.1f} GiB for them ({memory}), {short}",
        mends or ["lower item_table.rows"],
    )


def _more_ranks(hardware: Hardware, least: float, fits: Callable[[Hardware], bool], *, machines: bool) -> list[str]:
    """The first power of two of ranks that fits: `data_streams` is a multiple of it, or can be."""
    powers = (1 << k for k in range(MOST_RANKS.bit_length()))
    tried = (n for n in powers if n > hardware.world_size and n >= least)
    ranks = next((n for n in tried if fits(replace(hardware, world_size=n))), None)
    if ranks is None:
        return []
    if machines:
        # The ranks of a machine share its memory, so more of them on it gain nothing.
        return [f"take {-(-ranks // hardware.ranks_per_node)} machines like this one"]
    return [f"take {ranks} ranks"]


def _smaller_tables(model: nn.Module, hardware: Hardware, share: float, fits: Callable[[Hardware], bool]) -> list[str]:
    """Fewer rows, or rows of half the width: tables of a share of their size fit where that much more memory would."""

    def fit_at(share: float) -> bool:
        scaled = {name: getattr(hardware, name) / share for name in ("hbm_gib", "host_gib")}
        return fits(replace(hardware, **scaled))

    most = math.floor(100 * min(share, 0.99))
    percent = next((percent for percent in range(most, max(most - 10, 0), -1) if fit_at(percent / 100)), None)
    fewer = [] if percent is None else [f"lower item_table.rows to {percent} % of it"]
    sizes = table_bytes(model)
    saved = sum(
        sizes[table.name][0] / 2
        for module in collections_of(model)
        for table in module.embedding_configs()
        if table.name.startswith("item_") and table.data_type == DataType.FP32
    )
    saved /= sum(map(sum, sizes.values()))
    in_half = ["set item_table.precision to fp16"] if saved and fit_at(1 - saved) else []
    return [*fewer, *in_half]


def _host_memory(hardware: Hardware, short: float, largest: float, fits: Callable[[Hardware], bool]) -> list[str]:
    """The host memory of a rank with which tables fit that are `short` of so much; a table moves as a whole."""
    least = math.ceil(max(hardware.host_gib + short, 1))
    most = math.ceil(least + 2 * largest)
    enough = next((gib for gib in range(least, most + 1) if fits(replace(hardware, host_gib=float(gib)))), None)
    # Training keeps the tables of GPUs in GPU memory, so far.
    return [] if enough is None else [f"plan with {enough} GiB of host memory a rank, which training can't use yet"]
