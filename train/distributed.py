"""Ranks: one process is a group of one, so that there is a single code path from one to many."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, cast

import torch
import torch.distributed as dist
from torch import Tensor

from pinfm.embeddings.errors import UserError, require_choice
from pinfm.train.config import Device

T = TypeVar("T")


def choose_device(wanted: Device) -> torch.device:
    """The device of this process.

    Raises:
        UserError: `cuda` was asked for and there is none, or this machine has fewer devices than processes.
    """
    require_choice("device", wanted, Device)
    if wanted == "cuda" and not torch.cuda.is_available():
        raise UserError("device is `cuda`, but torch sees no CUDA device; take device `auto` or `cpu`.")
    if wanted == "cpu" or not torch.cuda.is_available():
        return torch.device("cpu")
    rank, devices = int(os.environ.get("LOCAL_RANK", "0")), torch.cuda.device_count()
    if rank >= devices:
        raise UserError(
            f"process {rank} of this machine has no GPU of its own, torch sees {devices}; "
            "start as many processes as there are GPUs."
        )
    return torch.device("cuda", rank)


@contextmanager
def process_group(device: torch.device) -> Iterator[dist.ProcessGroup]:
    """Joins the group that the launcher describes (torchrun's variables), or makes a group of one."""
    init: dict[str, Any] = {}
    if "RANK" not in os.environ:
        init = {"store": dist.HashStore(), "rank": 0, "world_size": 1}  # type: ignore[attr-defined]  # public all the same
    if device.type == "cuda":
        torch.cuda.set_device(device)
    dist.init_process_group("nccl" if device.type == "cuda" else "gloo", **init)
    leave = True
    try:
        group = dist.group.WORLD
        assert group is not None
        yield group
    except Exception:
        # The others fail as their connections to this process break. They break when it ends, not here, so that who
        # started them learns first how the one ended that knows why.
        leave = int(os.environ.get("WORLD_SIZE", "1")) == 1
        raise
    finally:
        if leave:
            dist.destroy_process_group()


def is_first_rank() -> bool:
    """Whether this process writes the files and the progress bar."""
    return dist.get_rank() == 0


def mean_over_ranks(total: Tensor, count: Tensor) -> Tensor:
    """A loss whose average over ranks is (sum of totals) / (sum of counts).

    Data-parallel training averages gradients over ranks, so dividing by the rank's own count would weigh examples of a
    short rank more. With this, N ranks train exactly as one rank would on their joint batch.

    Args:
        total: the rank's summed loss.
        count: what it was summed over.
    """
    everywhere = sum_over_ranks(count.detach().float())
    return total * dist.get_world_size() / everywhere.clamp(min=1.0)


def sum_over_ranks(count: Tensor) -> Tensor:
    """The sum of every rank's number."""
    if dist.get_world_size() == 1:
        # A collective wakes a thread of its own, which takes as long as a small layer.
        return count
    everywhere = count.clone()
    dist.all_reduce(everywhere)
    return everywhere


def collective_device() -> torch.device:
    """Where a tensor has to be for the ranks to exchange it."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def max_over_ranks(value: int) -> int:
    """The largest of every rank's numbers."""
    largest = torch.tensor(value, device=collective_device())
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return int(largest)


class AnyRank:
    """Asks, again and again, whether something is so on any rank. Every rank must make one, and ask it together.

    It goes over gloo, which leaves a GPU to its work.
    """

    def __init__(self) -> None:
        self._group = dist.new_group(backend="gloo") if dist.get_world_size() > 1 else None

    def has(self, here: bool) -> bool:
        """Whether it is so on any rank.

        Args:
            here: whether it is so on this one.
        """
        if self._group is None:
            return here
        anywhere = torch.tensor(here, dtype=torch.int32)
        dist.all_reduce(anywhere, op=dist.ReduceOp.MAX, group=self._group)
        return bool(anywhere)


def together(do: Callable[[], None]) -> None:
    """Does something with files that may fail on one rank alone. Every rank must call it.

    Raises:
        OSError: it failed somewhere; raised by every rank, so that none waits for one that has ended.
        UserError: likewise.
    """
    failed: Exception | None = None
    try:
        do()
    except (OSError, UserError) as error:
        failed = error
    for of_rank in gather_objects(failed):
        if of_rank is not None:
            raise of_rank


def by_first_rank(do: Callable[[], None]) -> None:
    """Lets the first rank do something with files while the others wait; see `together`."""
    together(do if is_first_rank() else lambda: None)


def gather_objects(own: T) -> list[T]:
    """What each rank has. Every rank must call it."""
    if dist.get_world_size() == 1:
        return [own]
    gathered: list[T | None] = [None] * dist.get_world_size()
    dist.all_gather_object(gathered, own)
    return cast("list[T]", gathered)


def from_first_rank(x: Tensor) -> Tensor:
    """What the first rank has, of the same shape and on the same device as this rank's."""
    if dist.get_world_size() == 1:
        return x
    theirs = x.to(collective_device()).contiguous()
    dist.broadcast(theirs, src=0)
    return theirs.to(x.device)


def has_most(count: int) -> bool:
    """Whether no rank has more of something, and none before this one as much. Every rank must call it."""
    ranks = dist.get_world_size()
    claim = count * ranks + ranks - 1 - dist.get_rank()
    return claim == max_over_ranks(claim)


def gather_rows(x_VO: Tensor) -> list[Tensor]:
    """Every rank's rows, differentiable: a gradient that another rank computes flows back to the rank it belongs to.

    Args:
        x_VO: this rank's rows; the number of rows differs between ranks.

    Returns:
        One (V_r, O) tensor a rank.
    """
    if dist.get_world_size() == 1:
        return [x_VO]
    sizes = [torch.zeros((), dtype=torch.int64, device=x_VO.device) for _ in range(dist.get_world_size())]
    dist.all_gather(sizes, torch.tensor(x_VO.size(0), device=x_VO.device))
    most = max(int(size) for size in sizes)
    padded = torch.cat([x_VO, x_VO.new_zeros([most - x_VO.size(0), *x_VO.shape[1:]])])
    gathered: Tensor = _GatherPadded.apply(padded)  # type: ignore[no-untyped-call]
    return [block[: int(size)] for block, size in zip(gathered, sizes, strict=True)]


class _GatherPadded(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        blocks = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(blocks, x.contiguous())
        return torch.stack(blocks)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        grad = grad.contiguous()
        dist.all_reduce(grad)
        return grad[dist.get_rank()]
