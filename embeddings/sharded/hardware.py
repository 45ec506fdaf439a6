"""The machines that id tables are planned for."""

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from pinfm.embeddings.errors import UserError, require_at_least, require_at_most, require_positive, require_types

if TYPE_CHECKING:
    import torch
    import torch.distributed as dist

GIB = 1 << 30
MOST_RANKS = 1 << 14
# Of a rank's memory: beyond it sizes in bytes soon leave 64 bits.
MOST_GIB = 1 << 30


@dataclass(frozen=True, kw_only=True)
class Hardware:
    """What the planner has to know of the ranks.

    Args:
        device: what the ranks compute on.
        world_size: ranks.
        ranks_per_node: ranks that share a machine.
        hbm_gib: GPU memory of each rank; not read for a CPU.
        host_gib: host memory of each rank that tables may use; 0 keeps the tables of GPUs in GPU memory.
        intra_node_gb_s: bandwidth between ranks of one machine, GB/s.
        inter_node_gb_s: bandwidth between machines for each rank, GB/s.
    """

    device: Literal["cuda", "cpu"] = "cuda"
    world_size: int = 8
    ranks_per_node: int = 8
    hbm_gib: float = 80.0
    host_gib: float = 0.0
    intra_node_gb_s: float = 450.0
    inter_node_gb_s: float = 25.0

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least("", 1, world_size=self.world_size, ranks_per_node=self.ranks_per_node)
        if self.world_size > MOST_RANKS:
            raise UserError(f"world_size ({self.world_size}) must be at most {MOST_RANKS}: plans go rank by rank.")
        require_at_least("", 0, host_gib=self.host_gib)
        require_positive("", intra_node_gb_s=self.intra_node_gb_s, inter_node_gb_s=self.inter_node_gb_s)
        if self.device == "cuda":
            require_positive("", hbm_gib=self.hbm_gib)
        else:
            require_positive("", host_gib=self.host_gib)
        require_at_most("", MOST_GIB, hbm_gib=self.hbm_gib, host_gib=self.host_gib)


def this_hardware(device: "torch.device", group: "dist.ProcessGroup") -> Hardware:
    """What this process and its group run on; GPUs keep their tables in GPU memory.

    Args:
        device: of this rank.
        group: all ranks.
    """
    import torch  # not before: `pinfm plan` checks its flags without it

    ranks_per_node = int(os.environ.get("LOCAL_WORLD_SIZE", group.size()))
    if device.type == "cuda":
        hbm_gib = torch.cuda.get_device_properties(device).total_memory / GIB
        return Hardware(world_size=group.size(), ranks_per_node=ranks_per_node, hbm_gib=hbm_gib)
    host_gib = machine_gib() / ranks_per_node
    return Hardware(device="cpu", world_size=group.size(), ranks_per_node=ranks_per_node, host_gib=host_gib)


def machine_gib() -> float:
    """Memory of this machine."""
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / GIB
