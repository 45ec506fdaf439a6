"""A rank's batches: its streams' draws, gathered, joined and collated, step after step."""

from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

import torch.distributed as dist

from pinfm.embeddings.errors import UserError
from pinfm.train.config import require_equal_shares
from pinfm.train.distributed import max_over_ranks
from pinfm.train.loader.arrays import concatenate
from pinfm.train.loader.batches import Batch
from pinfm.train.loader.streams import (
    B,
    BucketSource,
    Draw,
    StreamPlan,
    num_steps,
    read_stream,
)

A = TypeVar("A")


class Feed(Generic[A]):
    """Batches of one phase for this rank.

    Args:
        source: reads buckets.
        plan: how they are dealt out to streams.
        gather: a draw's examples as arrays.
        collate: a step's arrays as a batch.
    """

    def __init__(
        self,
        source: BucketSource[B],
        plan: StreamPlan,
        gather: Callable[[Draw[B]], A],
        collate: Callable[[A], Batch],
    ) -> None:
        world, rank = dist.get_world_size(), dist.get_rank()
        require_equal_shares(plan.num_streams, world)
        if plan.shuffle and plan.num_streams > source.num_buckets:
            raise UserError(
                f"data_streams ({plan.num_streams}) is more than the dataset's buckets ({source.num_buckets}), so that "
                f"batches would lack examples; set it to {source.num_buckets} or less, or prepare the dataset with "
                f"--num-buckets {plan.num_streams}."
            )
        self._source, self._plan = source, plan
        self._gather, self.collate = gather, collate
        self._streams = range(rank, plan.num_streams, world)
        # The longest stream of all ranks decides, so that every rank takes part in every step.
        self.steps_per_epoch = max_over_ranks(max(num_steps(source, plan, stream) for stream in self._streams))

    def batches(self, first_step: int, total_steps: int) -> Iterator[Batch]:
        """The batches of steps [first_step, total_steps), epoch after epoch."""
        return map(self.collate, self.arrays(first_step, total_steps))

    def arrays(self, first_step: int, total_steps: int) -> Iterator[A]:
        """The same steps before collation."""
        epoch, skip = divmod(first_step, self.steps_per_epoch)
        step = first_step
        while step < total_steps:
            streams = [read_stream(self._source, self._plan, s, epoch, skip) for s in self._streams]
            for _ in range(min(self.steps_per_epoch - skip, total_steps - step)):
                yield concatenate([self._gather(next(stream)) for stream in streams])
                step += 1
            epoch, skip = epoch + 1, 0
