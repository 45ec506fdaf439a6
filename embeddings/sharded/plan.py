"""Where each shard of each table lives: TorchRec's planner, asked the same way for one rank and for many.

`sharding_plan` is what training shards by; `planned_tables` is the same plan for hardware that need not be there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError, require_types
from pinfm.embeddings.sharded.hardware import GIB, Hardware
from pinfm.embeddings.sharded.sub_tables import one_sum_a_row, sub_tables
from pinfm.embeddings.sharded.too_small import RESERVED_SHARE, Fits, too_small
from pinfm.embeddings.sharded.versions import require_tested_versions
from pinfm.embeddings.specs import Sharding

require_tested_versions()

from torchrec.distributed.collective_utils import invoke_on_rank_and_broadcast_result  # noqa: E402
from torchrec.distributed.embedding_types import EmbeddingComputeKernel  # noqa: E402
from torchrec.distributed.planner import EmbeddingShardingPlanner  # noqa: E402
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation  # noqa: E402
from torchrec.distributed.planner.types import (  # noqa: E402
    HardwareConfig,
    KernelConfig,
    ParameterConstraints,
    PlannerError,
    ShardingOption,
    Stats,
    TopologyFactory,
    TrainerConfig,
)
from torchrec.distributed.types import ModuleSharder, ShardingPlan, ShardingType  # noqa: E402

ROW_WISE = ShardingType.ROW_WISE.value
# Data-parallel tables fail on gloo for unpooled lookups; these train on every backend.
SHARDING_TYPES = [ROW_WISE, ShardingType.TABLE_WISE.value]
# Its parts of a row would each have a row-wise Adagrad sum, so it needs an optimizer with a sum a value.
COLUMN_WISE = ShardingType.COLUMN_WISE.value
# fbgemm's kernels ask for multiples of so many columns.
LEAST_COLUMNS = 4
# Tables in host memory, with and without a cache on the GPU; neither exists on a CPU.
HOST_KERNELS = [EmbeddingComputeKernel.FUSED_UVM_CACHING, EmbeddingComputeKernel.FUSED_UVM]


@dataclass(frozen=True, kw_only=True)
class TableUse:
    """What the planner has to know of a sub-table beside its shape.

    Args:
        ids_per_step: ids that a rank looks up in it a step.
        sharding: `auto` lets the planner choose.
    """

    ids_per_step: float = 1.0
    sharding: Sharding = "auto"

    def __post_init__(self) -> None:
        require_types("use", self)


def sharding_plan(
    model: nn.Module,
    sharders: list[ModuleSharder[nn.Module]],
    group: dist.ProcessGroup,
    hardware: Hardware,
    uses: Mapping[str, TableUse],
) -> ShardingPlan:
    """Plans the tables of `model` over the ranks of `group`; rank 0 decides and broadcasts.

    Args:
        model: holds its collections on the meta device; their optimizers are fused already.
        sharders: the modules that may be sharded.
        group: the ranks.
        hardware: theirs.
        uses: of each sub-table; `TableUse()` where it is not named.

    Raises:
        UserError: a table that is to be cut by rows has too few.
        DoesNotFitError: says what would.
    """
    _require_rows_for_all(model, hardware, uses)

    def plan() -> ShardingPlan | UserError:
        try:
            return _planner(model, hardware, uses, None).plan(model, sharders)
        except PlannerError as error:
            return too_small(error, model, hardware, *fits_by(sharders, uses), training=True)

    # All ranks say why there is no plan, where the first alone has looked for one.
    found = invoke_on_rank_and_broadcast_result(group, 0, plan)
    if isinstance(found, UserError):
        raise found
    return found


def planned_tables(
    model: nn.Module, sharders: list[ModuleSharder[nn.Module]], hardware: Hardware, uses: Mapping[str, TableUse]
) -> list[ShardingOption]:
    """The plan that `sharding_plan` would make on some hardware, one option a table, without that hardware.

    Args:
        model: holds its collections on the meta device; their optimizers are fused already.
        sharders: the modules that may be sharded.
        hardware: to plan for.
        uses: of each sub-table; `TableUse()` where it is not named.

    Raises:
        UserError: a table that is to be cut by rows has too few.
        DoesNotFitError: says what is short, and what would fit.
    """
    _require_rows_for_all(model, hardware, uses)
    kept = _Chosen()
    try:
        _planner(model, hardware, uses, kept).plan(model, sharders)
    except PlannerError as error:
        raise too_small(error, model, hardware, *fits_by(sharders, uses), training=False) from error
    return kept.tables


def fits_by(sharders: list[ModuleSharder[nn.Module]], uses: Mapping[str, TableUse]) -> tuple[Fits, Fits]:
    """Whether there is a plan, by tables and hardware: with what a step looks up, and without."""

    def fits(uses: Mapping[str, TableUse], model: nn.Module, hardware: Hardware) -> bool:
        try:
            _require_rows_for_all(model, hardware, uses)
            _planner(model, hardware, uses, None).plan(model, sharders)
        except (PlannerError, UserError):
            return False
        return True

    unused = {name: replace(use, ids_per_step=1.0) for name, use in uses.items()}
    return partial(fits, uses), partial(fits, unused)


class _Chosen(Stats):  # type: ignore[misc]  # torchrec carries no types
    """Keeps the option that the planner chose for each table."""

    def __init__(self) -> None:
        self.tables: list[ShardingOption] = []

    def log(self, *args: Any, best_plan: Sequence[ShardingOption] = (), **kwargs: Any) -> None:
        self.tables = list(best_plan)


def _planner(
    model: nn.Module, hardware: Hardware, uses: Mapping[str, TableUse], stats: Stats | None
) -> EmbeddingShardingPlanner:
    on_cpu = hardware.device == "cpu"
    # The planner weighs host kernels too unless told which.
    kernels = [EmbeddingComputeKernel.FUSED] + (HOST_KERNELS if hardware.host_gib and not on_cpu else [])
    topology = TopologyFactory.create_topology(
        trainer_config=TrainerConfig(
            world_size=hardware.world_size,
            local_world_size=min(hardware.ranks_per_node, hardware.world_size),
            hbm_cap_bytes=None if on_cpu else int(hardware.hbm_gib * GIB),
            # The reservation is made from GPU memory alone.
            ddr_cap_bytes=math.ceil(hardware.host_gib * GIB * (1 - RESERVED_SHARE if on_cpu else 1)) or None,
        ),
        # Bytes a millisecond.
        hardware_config=HardwareConfig(
            intra_host_bw=hardware.intra_node_gb_s * 1e6, inter_host_bw=hardware.inter_node_gb_s * 1e6
        ),
        kernel_config=KernelConfig(compute_device=hardware.device, use_hardware_based_bandwidth=True),
    )
    return EmbeddingShardingPlanner(
        topology=topology,
        storage_reservation=FixedPercentageStorageReservation(RESERVED_SHARE),
        batch_size=1,  # a step's ids stand in one jagged sample
        constraints={
            name: ParameterConstraints(
                sharding_types=_sharding_types(weight, uses.get(name, TableUse()).sharding, hardware.world_size),
                compute_kernels=[kernel.value for kernel in kernels],
                pooling_factors=[uses.get(name, TableUse()).ids_per_step],
                min_partition=_least_columns(weight, hardware.world_size),
            )
            for name, weight in sub_tables(model).items()
        },
        stats=stats,
    )


def _sharding_types(weight: Tensor, sharding: Sharding, world_size: int) -> list[str]:
    if sharding != "auto":
        return [sharding]
    types = SHARDING_TYPES if one_sum_a_row(weight) else [*SHARDING_TYPES, COLUMN_WISE]
    return [kind for kind in types if kind != ROW_WISE or _has_rows_for_all(weight, world_size)]


def _has_rows_for_all(weight: Tensor, world_size: int) -> bool:
    """Whether every rank gets a row where TorchRec cuts a table by rows; fbgemm can't train a shard without any."""
    rows = weight.size(0)
    return math.ceil(rows / world_size) * (world_size - 1) < rows


def _require_rows_for_all(model: nn.Module, hardware: Hardware, uses: Mapping[str, TableUse]) -> None:
    for name, weight in sub_tables(model).items():
        asked = uses.get(name, TableUse()).sharding
        if asked == ROW_WISE and not _has_rows_for_all(weight, hardware.world_size):
            raise UserError(
                f"the {weight.size(0)} rows of {name} can't be cut over {hardware.world_size} ranks so that each has "
                "some; set item_table.sharding to table_wise, or take more rows or fewer ranks."
            )


def _least_columns(weight: Tensor, world_size: int) -> int:
    """Columns of a part, as many parts as ranks where that can be."""
    columns = weight.size(1)
    parts = [n for n in range(1, world_size + 1) if columns % n == 0 and columns // n % LEAST_COLUMNS == 0]
    return columns // max(parts, default=1)
