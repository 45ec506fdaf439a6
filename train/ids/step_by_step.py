"""A training pipeline that does not read ahead."""

from collections.abc import Iterator
from typing import Any

import torch
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.optim.keyed import CombinedOptimizer

from pinfm.train.ids.reset import RowReset


class StepByStep:
    """Trains a batch after the other, where TorchRec's pipeline reads ahead.

    A batch of managed ids that was read ahead would have found rows that other ids are given before it trains; and one
    rank on a CPU has nobody to exchange it with meanwhile.

    Args:
        model: the sharded module.
        optimizer: of its dense weights and tables.
        device: of this rank.
        reset: of the model's rows.
    """

    def __init__(
        self, model: DistributedModelParallel, optimizer: CombinedOptimizer, device: torch.device, reset: RowReset
    ) -> None:
        self._model, self._optimizer, self._device, self._reset = model, optimizer, device, reset

    def progress(self, batches: Iterator[Any]) -> Any:
        """Trains on the next batch; what the module tells of it."""
        batch = next(batches).to(self._device)
        # What rows start from does not depend on the precision of a step.
        with torch.autocast(self._device.type, enabled=False):
            self._reset(batch.fresh)
        self._optimizer.zero_grad()
        loss, parts = self._model(batch)
        loss.backward()
        self._optimizer.step()
        return parts

    def detach(self) -> None:
        """Nothing was attached to the model."""
