"""Where each shard of each table lives: TorchRec's planner, asked the same way for one rank and for many.

`sharding_plan` is what training shards by; `planned_tables` is the same plan for hardware that need not be there.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch.distributed as dist
from torch import nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.hardware import GIB, Hardware
from pinfm.embeddings.versions import require_tested_versions

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

# Data-parallel tables fail on gloo for unpooled lookups; the rest trains on every backend.
SHARDING_TYPES = [ShardingType.ROW_WISE, ShardingType.TABLE_WISE, ShardingType.COLUMN_WISE]
# Tables in host memory, with and without a cache on the GPU; neither exists on a CPU.
HOST_KERNELS = [EmbeddingComputeKernel.FUSED_UVM_CACHING, EmbeddingComputeKernel.FUSED_UVM]

# Share of each rank's memory that is left to the dense model, activations and the framework.
RESERVED_SHARE = 0.15
# Row-wise Adagrad keeps one float32 a row.
OPTIMIZER_BYTES_PER_ROW = 4


def sharding_plan(
    model: nn.Module,
    sharders: list[ModuleSharder[nn.Module]],
    group: dist.ProcessGroup,
    hardware: Hardware,
    ids_per_step: Mapping[str, float],
) -> ShardingPlan:
    """Plans the tables of `model` over the ranks of `group`; rank 0 decides and broadcasts.

    Args:
        model: holds its collections on the meta device.
        sharders: the modules that may be sharded.
        group: the ranks.
        hardware: theirs.
        ids_per_step: sub-table -> ids that a rank looks up in it a step; 1 where it is not named.

    Raises:
        UserError: the tables do not fit.
    """
    try:
        return _planner(model, hardware, ids_per_step, None).collective_plan(model, sharders, group)
    except PlannerError as error:
        # Training keeps the tables of GPUs in GPU memory.
        raise _too_small(error, model, hardware, offer_host=False) from error


def planned_tables(
    model: nn.Module, sharders: list[ModuleSharder[nn.Module]], hardware: Hardware, ids_per_step: Mapping[str, float]
) -> list[ShardingOption]:
    """The plan that `sharding_plan` would make on some hardware, one option a table, without that hardware.

    Args:
        model: holds its collections on the meta device.
        sharders: the modules that may be sharded.
        hardware: to plan for.
        ids_per_step: sub-table -> ids that a rank looks up in it a step; 1 where it is not named.

    Raises:
        UserError: the tables do not fit; says what is short, and what would fit.
    """
    kept = _Chosen()
    try:
        _planner(model, hardware, ids_per_step, kept).plan(model, sharders)
    except PlannerError as error:
        raise _too_small(error, model, hardware, offer_host=hardware.device == "cuda") from error
    return kept.tables


def table_bytes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Sub-table -> bytes of its weights and of its optimizer's state."""
    return {
        config.name: (
            config.num_embeddings * config.embedding_dim * weight.element_size(),
            config.num_embeddings * OPTIMIZER_BYTES_PER_ROW,
        )
        for module in _collections(model)
        for config, weight in zip(module.embedding_configs(), module.parameters(), strict=True)
    }


class _Chosen(Stats):  # type: ignore[misc]  # torchrec carries no types
    """Keeps the option that the planner chose for each table."""

    def __init__(self) -> None:
        self.tables: list[ShardingOption] = []

    def log(self, *args: Any, best_plan: Sequence[ShardingOption] = (), **kwargs: Any) -> None:
        self.tables = list(best_plan)


def _planner(
    model: nn.Module, hardware: Hardware, ids_per_step: Mapping[str, float], stats: Stats | None
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
            ddr_cap_bytes=int(hardware.host_gib * GIB * (1 - RESERVED_SHARE if on_cpu else 1)) or None,
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
            table.name: ParameterConstraints(
                sharding_types=[kind.value for kind in SHARDING_TYPES],
                compute_kernels=[kernel.value for kernel in kernels],
                pooling_factors=[ids_per_step.get(table.name, 1.0)],
            )
            for collection in _collections(model)
            for table in collection.embedding_configs()
        },
        stats=stats,
    )


def _too_small(error: PlannerError, model: nn.Module, hardware: Hardware, offer_host: bool) -> UserError:
    """What is short, by how much, and what would fit."""
    if error.error_type not in (PlannerErrorType.INSUFFICIENT_STORAGE, PlannerErrorType.PARTITION):
        return UserError(f"TorchRec's planner found no plan: {' '.join(str(error).split())}")
    sizes = [(weights + state) / GIB for weights, state in table_bytes(model).values()]
    needed = sum(sizes)
    on_gpus = hardware.device == "cuda"
    own, host = (hardware.hbm_gib, hardware.host_gib) if on_gpus else (hardware.host_gib, 0.0)
    per_rank = own * (1 - RESERVED_SHARE) + host
    free = per_rank * hardware.world_size
    ranks, share = math.ceil(needed / per_rank), math.floor(100 * free / needed)
    mends = [f"take {max(ranks, hardware.world_size + 1)} ranks"]
    if 0 < share < 100:
        mends.append(f"lower item_table.rows to {share} % of it")
    tables = [table for module in _collections(model) for table in module.embedding_configs()]
    if any(table.name.startswith("item_") and table.data_type == DataType.FP32 for table in tables):
        mends.append("set item_table.precision to fp16")
    if offer_host:
        # A table moves as a whole.
        more = (needed - free + max(sizes)) / hardware.world_size
        mends.append(f"let tables use {math.ceil(max(host + more, 1))} GiB of host memory a rank")
    of_host = f", and {host:.1f} of the host" if host else ""
    memory = f"{own:.1f} GiB each, less {RESERVED_SHARE:.0%} for the dense model{of_host}"
    return UserError(
        f"the id tables need {needed:.1f} GiB with their optimizer, and {hardware.world_size} rank(s) have "
        f"{free:.1f} GiB for them ({memory}), {max(needed - free, 0):.1f} GiB short; {', or '.join(mends)}."
    )


def _collections(model: nn.Module) -> list[EmbeddingCollection]:
    return [module for module in model.modules() if isinstance(module, EmbeddingCollection)]
