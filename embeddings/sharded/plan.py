"""Where each shard of each table lives: TorchRec's planner, asked the same way for one rank and for many.

`sharding_plan` is what training shards by; `planned_tables` is the same plan for hardware that need not be there.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch.distributed as dist
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.hardware import GIB, Hardware
from pinfm.embeddings.sharded.versions import require_tested_versions
from pinfm.embeddings.specs import Sharding

require_tested_versions()

from torchrec.distributed.embedding_types import EmbeddingComputeKernel  # noqa: E402
from torchrec.distributed.planner import EmbeddingShardingPlanner  # noqa: E402
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation  # noqa: E402
from torchrec.distributed.planner.types import (  # noqa: E402
    HardwareConfig,
    KernelConfig,
    ParameterConstraints,
    PlannerError,
    PlannerErrorType,
    ShardingOption,
    Stats,
    TopologyFactory,
    TrainerConfig,
)
from torchrec.distributed.types import ModuleSharder, ShardingPlan, ShardingType  # noqa: E402
from torchrec.modules.embedding_configs import DataType  # noqa: E402
from torchrec.modules.embedding_modules import EmbeddingCollection  # noqa: E402
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad  # noqa: E402

# Data-parallel tables fail on gloo for unpooled lookups; these train on every backend.
SHARDING_TYPES = [ShardingType.ROW_WISE.value, ShardingType.TABLE_WISE.value]
# Its parts of a row would each have a row-wise Adagrad sum, so it needs an optimizer with a sum a value.
COLUMN_WISE = ShardingType.COLUMN_WISE.value
# fbgemm's kernels ask for multiples of so many columns.
LEAST_COLUMNS = 4
# Tables in host memory, with and without a cache on the GPU; neither exists on a CPU.
HOST_KERNELS = [EmbeddingComputeKernel.FUSED_UVM_CACHING, EmbeddingComputeKernel.FUSED_UVM]

# Share of each rank's memory that is left to the dense model, activations and the framework.
RESERVED_SHARE = 0.15
# Adagrad's sums are float32, whatever the rows are.
OPTIMIZER_BYTES = 4


@dataclass(frozen=True, kw_only=True)
class TableUse:
    """What the planner has to know of a sub-table beside its shape.

    Args:
        ids_per_step: ids that a rank looks up in it a step.
        sharding: `auto` lets the planner choose.
    """

    ids_per_step: float = 1.0
    sharding: Sharding = "auto"


class DoesNotFitError(UserError):
    """The tables need more memory than there is.

    Args:
        short: what is short, and by how much.
        mends: what would fit.
    """

    def __init__(self, short: str, mends: Sequence[str]) -> None:
        super().__init__(f"{short}; {', or '.join(mends)}.")
        self.short = short


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
        DoesNotFitError: says what would.
    """
    try:
        return _planner(model, hardware, uses, None).collective_plan(model, sharders, group)
    except PlannerError as error:
        # Training keeps the tables of GPUs in GPU memory.
        raise _too_small(error, model, hardware, offer_host=False) from error


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
        DoesNotFitError: says what is short, and what would fit.
    """
    kept = _Chosen()
    try:
        _planner(model, hardware, uses, kept).plan(model, sharders)
    except PlannerError as error:
        raise _too_small(error, model, hardware, offer_host=hardware.device == "cuda") from error
    return kept.tables


def table_bytes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Sub-table -> bytes of its weights and of its optimizer's state."""
    return {
        name: (weight.numel() * weight.element_size(), optimizer_values(weight, *weight.shape) * OPTIMIZER_BYTES)
        for name, weight in _sub_tables(model).items()
    }


def optimizer_values(weight: Tensor, rows: int, columns: int) -> int:
    """How many sums of squares, each a float32, fused Adagrad keeps for a shard.

    Args:
        weight: the sub-table.
        rows: of the shard.
        columns: of the shard.
    """
    return rows * (1 if _one_sum_a_row(weight) else columns)


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
                sharding_types=_sharding_types(weight, uses.get(name, TableUse()).sharding),
                compute_kernels=[kernel.value for kernel in kernels],
                pooling_factors=[uses.get(name, TableUse()).ids_per_step],
                min_partition=_least_columns(weight, hardware.world_size),
            )
            for name, weight in _sub_tables(model).items()
        },
        stats=stats,
    )


def _sharding_types(weight: Tensor, sharding: Sharding) -> list[str]:
    if sharding != "auto":
        return [sharding]
    return SHARDING_TYPES if _one_sum_a_row(weight) else [*SHARDING_TYPES, COLUMN_WISE]


def _least_columns(weight: Tensor, world_size: int) -> int:
    """Columns of a part, as many parts as ranks where that can be."""
    columns = weight.size(1)
    parts = [n for n in range(1, world_size + 1) if columns % n == 0 and columns // n % LEAST_COLUMNS == 0]
    return columns // max(parts, default=1)


def _one_sum_a_row(weight: Tensor) -> bool:
    """Whether its fused optimizer is row-wise."""
    return RowWiseAdagrad in getattr(weight, "_optimizer_classes", [])


def _too_small(error: PlannerError, model: nn.Module, hardware: Hardware, offer_host: bool) -> UserError:
    """What is short, by how much, and what would fit."""
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
    if error.error_type not in (PlannerErrorType.INSUFFICIENT_STORAGE, PlannerErrorType.PARTITION):
        return UserError(f"TorchRec's planner found no plan: {' '.join(str(error).split())}")
    ranks, share = math.ceil(needed / per_rank), math.floor(100 * free / needed)
    mends = [f"take {max(ranks, hardware.world_size + 1)} ranks"]
    if 0 < share < 100:
        mends.append(f"lower item_table.rows to {share} % of it")
    tables = [table for module in _collections(model) for table in module.embedding_configs()]
    if any(table.name.startswith("item_") and table.data_type == DataType.FP32 for table in tables):
        mends.append("set item_table.precision to fp16")
    if offer_host:
        # A table moves as a whole.
        more = (needed - free + sizes[largest]) / hardware.world_size
        mends.append(f"let tables use {math.ceil(max(host + more, 1))} GiB of host memory a rank")
    of_host = f", and {host:.1f} of the host" if host else ""
    memory = f"{own:.1f} GiB each, less {RESERVED_SHARE:.0%} for the dense model{of_host}"
    return DoesNotFitError(
        f"the id tables need {needed:.1f} GiB with their optimizer, and {hardware.world_size} rank(s) have "
        f"{free:.1f} GiB for them ({memory}), {max(needed - free, 0):.1f} GiB short",
        mends,
    )


def _collections(model: nn.Module) -> list[EmbeddingCollection]:
    return [module for module in model.modules() if isinstance(module, EmbeddingCollection)]


def _sub_tables(model: nn.Module) -> dict[str, Tensor]:
    """Name -> weights."""
    return {
        config.name: weight
        for module in _collections(model)
        for config, weight in zip(module.embedding_configs(), module.parameters(), strict=True)
    }
