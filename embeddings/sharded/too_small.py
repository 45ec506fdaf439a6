"""Tables that do not fit: what is short, by how much, and what would fit."""

import math
import re
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.hardware import GIB, MOST_RANKS, Hardware
from pinfm.embeddings.sharded.sub_tables import collections_of, table_bytes
from pinfm.embeddings.sharded.versions import require_tested_versions

require_tested_versions()

from torchrec.distributed.planner.types import PlannerError, PlannerErrorType  # noqa: E402
from torchrec.modules.embedding_configs import DataType, EmbeddingConfig  # noqa: E402
from torchrec.modules.embedding_modules import EmbeddingCollection  # noqa: E402

# Share of each rank's memory that is left to the dense model, activations and the framework.
RESERVED_SHARE = 0.15
# As `IdTable.sub_tables` names those of the items; `item_table` of the config is about them alone.
OF_ITEMS = re.compile(r"item_\d+")
# Of the ranks that the tables' bytes alone ask for.
MOST_TIMES = 16

# Whether the tables of a model have a plan on some hardware.
Fits = Callable[[nn.Module, Hardware], bool]


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
    error: PlannerError, model: nn.Module, hardware: Hardware, fits: Fits, fits_unused: Fits, *, training: bool
) -> UserError:
    """The error that tells a user what TorchRec's planner found.

    Args:
        error: the planner's.
        model: holds its collections on the meta device.
        hardware: planned for.
        fits: whether there is a plan for some tables on some hardware; every mend with a number was tried.
        fits_unused: the same for tables of which a step looks up next to nothing.
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
    mends = [
        *_more_ranks(model, hardware, needed / per_rank, fits, machines=training and not on_gpus),
        *_smaller_tables(model, hardware, free, fits),
    ]
    if needed > free:
        short = f"{needed - free:.1f} GiB short"
    elif fits_unused(model, hardware):
        short = "too few beside what a step looks up of them"
        mends.append("lower pretrain.batch_size or finetune.batch_size")
    else:
        short = f"too few for pieces of {sizes[largest]:.1f} GiB"
    if on_gpus and not training:
        mends += _host_memory(model, hardware, (needed - free) / hardware.world_size, sizes[largest], fits)
    return DoesNotFitError(
        f"the id tables need {needed:.1f} GiB with their optimizer, and {hardware.world_size} rank(s) have "
        f"{free:.1f} GiB for them ({memory}), {short}",
        mends or ["lower item_table.rows and feature_tables.max_rows"],
    )


def _more_ranks(model: nn.Module, hardware: Hardware, least: float, fits: Fits, *, machines: bool) -> list[str]:
    """The first power of two of ranks that fits: `data_streams` is a multiple of it, or can be."""
    powers = (1 << k for k in range(MOST_RANKS.bit_length()))
    # Where so many times the memory does not do, pieces are too large, and no number of ranks will.
    most = MOST_TIMES * max(least, hardware.world_size)
    tried = (n for n in powers if n > hardware.world_size and least <= n <= most)
    ranks = next((n for n in tried if fits(model, replace(hardware, world_size=n))), None)
    if ranks is None:
        return []
    if machines:
        # The ranks of a machine share its memory, so more of them on it gain nothing.
        return [f"take {-(-ranks // hardware.ranks_per_node)} machines like this one"]
    return [f"take {ranks} ranks"]


def _smaller_tables(model: nn.Module, hardware: Hardware, free: float, fits: Fits) -> list[str]:
    """Fewer rows of items, or item rows of half the width.

    Args:
        model: holds its collections on the meta device.
        hardware: planned for.
        free: GiB that all ranks have for tables.
        fits: whether there is a plan.
    """
    sizes = {name: sum(size) / GIB for name, size in table_bytes(model).items()}
    items = sum(size for name, size in sizes.items() if OF_ITEMS.fullmatch(name))
    others = sum(sizes.values()) - items
    most = math.floor(100 * min((free - others) / items, 0.99)) if items else 0
    tried = range(most, max(most - 10, 0), -1)
    percent = next((p for p in tried if fits(with_items(model, rows=p / 100), hardware)), None)
    fewer = [] if percent is None else [f"lower item_table.rows to {percent} % of it"]
    half = with_items(model, data_type=DataType.FP16)
    in_half = ["set item_table.precision to fp16"] if fits(half, hardware) else []
    return [*fewer, *in_half]


def with_items(model: nn.Module, rows: float = 1.0, data_type: DataType | None = None) -> nn.ModuleList:
    """The tables of a model, those of the items changed.

    Args:
        model: holds its collections on the meta device; their optimizers are fused already.
        rows: share of the items' rows that is kept.
        data_type: of the items' rows; as it is where None.
    """

    def changed(config: EmbeddingConfig) -> EmbeddingConfig:
        if not OF_ITEMS.fullmatch(config.name):
            return config
        kept = max(1, math.floor(rows * config.num_embeddings))
        return replace(config, num_embeddings=kept, data_type=data_type or config.data_type)

    found = nn.ModuleList()
    for collection in collections_of(model):
        configs = [changed(config) for config in collection.embedding_configs()]
        found.append(EmbeddingCollection(tables=configs, device=torch.device("meta")))
        for old, new in zip(collection.parameters(), found[-1].parameters(), strict=True):
            for name in ("_optimizer_classes", "_optimizer_kwargs"):  # what fusing an optimizer leaves behind
                setattr(new, name, getattr(old, name, []))
    return found


def _host_memory(model: nn.Module, hardware: Hardware, short: float, largest: float, fits: Fits) -> list[str]:
    """The host memory of a rank with which tables fit that are `short` of so much; a table moves as a whole."""
    least = math.ceil(max(hardware.host_gib + max(short, 0.0), 1))
    most = math.ceil(least + 2 * largest)
    tried = range(least, most + 1)
    # What fits in some memory fits in more.
    first = bisect_left(tried, True, key=lambda gib: fits(model, replace(hardware, host_gib=float(gib))))
    if first == len(tried):
        return []
    # Training keeps the tables of GPUs in GPU memory, so far.
    return [f"plan with {tried[first]} GiB of host memory a rank, which training can't use yet"]
