"""Where each shard of each table lives: TorchRec's planner, asked the same way for one rank and for many."""

import torch.distributed as dist
from torch import nn

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.versions import require_tested_versions

require_tested_versions()

from torchrec.distributed.embedding_types import EmbeddingComputeKernel  # noqa: E402
from torchrec.distributed.planner import EmbeddingShardingPlanner  # noqa: E402
from torchrec.distributed.planner.storage_reservations import FixedPercentageStorageReservation  # noqa: E402
from torchrec.distributed.planner.types import (  # noqa: E402
    KernelConfig,
    ParameterConstraints,
    PlannerError,
    TopologyFactory,
    TrainerConfig,
)
from torchrec.distributed.types import ModuleSharder, ShardingPlan, ShardingType  # noqa: E402
from torchrec.modules.embedding_modules import EmbeddingCollection  # noqa: E402

# Data-parallel tables fail on gloo for unpooled lookups; the rest trains on every backend.
SHARDING_TYPES = [ShardingType.ROW_WISE, ShardingType.TABLE_WISE, ShardingType.COLUMN_WISE]

# Share of each rank's memory that is left to the dense model, activations and the framework.
RESERVED_SHARE = 0.15


def sharding_plan(
    model: nn.Module,
    sharders: list[ModuleSharder[nn.Module]],
    group: dist.ProcessGroup,
    device_type: str,
    batch_size: int,
) -> ShardingPlan:
    """Plans the tables of `model` over the ranks of `group`; rank 0 decides and broadcasts.

    Args:
        model: holds its collections on the meta device.
        sharders: the modules that may be sharded.
        group: the ranks.
        device_type: `cpu` or `cuda`.
        batch_size: requests or segments a rank reads at a time, for the planner's cost model.

    Raises:
        UserError: the tables do not fit.
    """
    constraints = {
        config.name: ParameterConstraints(
            sharding_types=[kind.value for kind in SHARDING_TYPES],
            # The planner weighs UVM kernels too unless told, and those do not exist on a CPU.
            compute_kernels=[EmbeddingComputeKernel.FUSED.value],
        )
        for module in model.modules()
        if isinstance(module, EmbeddingCollection)
        for config in module.embedding_configs()
    }
    planner = EmbeddingShardingPlanner(
        topology=TopologyFactory.create_topology(
            trainer_config=TrainerConfig(world_size=group.size()),
            kernel_config=KernelConfig(compute_device=device_type),
        ),
        storage_reservation=FixedPercentageStorageReservation(RESERVED_SHARE),
        batch_size=batch_size,
        constraints=constraints,
    )
    try:
        return planner.collective_plan(model, sharders, group)
    except PlannerError as error:
        raise UserError(
            f"the id tables do not fit the memory of {group.size()} rank(s) of kind {device_type}; "
            "lower item_table.rows, or train on more ranks."
        ) from error
