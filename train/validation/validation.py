"""When a run is evaluated, what is found, and when it ends early."""

from collections.abc import Callable
from dataclasses import dataclass

from pinfm.model.stored.validated import Validated
from pinfm.train.config import FinetuneValidation, PretrainValidation

# Of which less is better.
LOSSES = ("ne", "logloss")

# Evaluates the model as it stands: values by name, the metric's among them, the same on every rank. Every rank must
# call it. Weights, maps of ids and what training draws stay as they are.
Measure = Callable[[], dict[str, float]]


def nothing_yet(config: PretrainValidation | FinetuneValidation) -> Validated | None:
    """What has been found before the first step; None where nothing ever is."""
    if not config.per_epoch:
        return None
    return Validated(metric=config.metric, higher_is_better=config.metric not in LOSSES)


@dataclass(frozen=True, kw_only=True)
class Validation:
    """Evaluations of a run.

    Args:
        measure: evaluates.
        config: how often, and how many may pass without a better one.
        steps_per_epoch: of the run.
        total_steps: that are planned.
    """

    measure: Measure
    config: PretrainValidation | FinetuneValidation
    steps_per_epoch: int
    total_steps: int

    def follows(self, step: int) -> bool:
        """Whether there is an evaluation after a step."""
        return step == self.total_steps or self._until(step) > self._until(step - 1)

    def _until(self, step: int) -> int:
        """Evaluations within so many steps, but for that after the last."""
        return int(step * self.config.per_epoch / self.steps_per_epoch)

    def has_ended(self, found: Validated | None) -> bool:
        """Whether the run has waited long enough for something better."""
        return found is not None and found.waited >= self.config.patience
