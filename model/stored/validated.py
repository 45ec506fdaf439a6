"""What the evaluations of a run on its validation split have found so far, read with the standard library alone.

RUN/checkpoints/step-*/validation.json holds it as it stood at that step, so that whatever checkpoint a run goes on from
tells what came before. The newest one tells which checkpoint is the best.
"""

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

VALIDATION = "validation.json"


@dataclass(frozen=True, kw_only=True)
class Validated:
    """A curve of evaluations, of which only a strictly better one counts: a tie is none, and NaN is not better.

    Args:
        metric: what is compared.
        higher_is_better: which way.
        curve: (step, value) of each evaluation, oldest first.

    Example:
        >>> found = Validated(metric="auc", higher_is_better=True).after(4, 0.6).after(8, 0.7).after(12, 0.7)
        >>> found.best, found.waited
        ((8, 0.7), 1)
    """

    metric: str
    higher_is_better: bool
    curve: tuple[tuple[int, float], ...] = ()

    def after(self, step: int, value: float) -> "Validated":
        """The curve with one more evaluation."""
        curve = (*self.curve, (step, value))
        return Validated(metric=self.metric, higher_is_better=self.higher_is_better, curve=curve)

    @property
    def best(self) -> tuple[int, float] | None:
        """Step and value of the first of the best; None before the first value that is a number."""
        records = list(self._records())
        return records[-1] if records else None

    @property
    def waited(self) -> int:
        """Evaluations after the best; all of them where there is none."""
        since = -1 if self.best is None else self.best[0]
        return sum(step > since for step, _ in self.curve)

    def superseded(self) -> set[int]:
        """Steps that were the best of their time and are no more."""
        return {step for step, _ in list(self._records())[:-1]}

    def to_json(self) -> dict[str, Any]:
        """As a checkpoint holds it; `best` and `waited` are there to be read, and follow from the curve."""
        best = None if self.best is None else {"step": self.best[0], "value": self.best[1]}
        return {
            "metric": self.metric,
            "higher_is_better": self.higher_is_better,
            "best": best,
            "evaluations_since": self.waited,
            "curve": [list(point) for point in self.curve],
        }

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Validated":
        """From what `to_json` made."""
        return cls(
            metric=str(values["metric"]),
            higher_is_better=bool(values["higher_is_better"]),
            curve=tuple((int(step), float(value)) for step, value in values["curve"]),
        )

    def told(self) -> str:
        """The best in words; empty where there is none."""
        if self.best is None:
            return ""
        step, value = self.best
        return f"step {step}, the best of {len(self.curve)} evaluations on validation ({self.metric} {value:.4f})"

    def _records(self) -> Iterator[tuple[int, float]]:
        sign = 1.0 if self.higher_is_better else -1.0
        best = -math.inf
        for step, value in self.curve:
            if sign * value > best:  # never of NaN
                best = sign * value
                yield step, value
