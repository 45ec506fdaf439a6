"""Settings of what a served model does about histories that somebody tampered with."""

from dataclasses import dataclass
from typing import Literal

from pinfm.embeddings.errors import UserError, require_at_least, require_positive, require_types

# `none`; `vectors`: `adapt` moves the event vectors; `trust`: events that the rest of the history disowns are dropped.
Adapt = Literal["none", "vectors", "trust"]
# Every so many events, counted from the newest, one is hidden from the reconstruction's encoding.
HIDDEN_EVERY = 4
LOSSES = ("next_token", "multi_token", "future_token", "masked_event", "contrastive")


@dataclass(frozen=True, kw_only=True)
class VectorAdaptationConfig:
    """Projected sign-gradient descent on the event vectors (arXiv 2204.03714).

    Args:
        next_token_weight: weight of L_ntl; each loss is a mean over a history's own pairs.
        multi_token_weight: weight of L_mtl, over all of the `window` events after an anchor.
        future_token_weight: weight of L_ftl, from one anchor a whole window before the newest event.
        masked_event_weight: weight of the reconstruction of events whose item is hidden.
        contrastive_weight: weight of the loss between two views of the history.
        window: L', how many events ahead L_mtl and L_ftl look.
        newest_events: of a history, whose states are asked and whose vectors move; older ones stay, and what is made of
            them is made once.
        steps: K, each a forward and a backward pass of the context.
        step_size: of a step, in units of the root mean square of the history's own vectors.
        radius: largest change of a component, in the same units.
    """

    next_token_weight: float = 1.0
    multi_token_weight: float = 1.0
    future_token_weight: float = 1.0
    masked_event_weight: float = 0.0
    contrastive_weight: float = 0.0
    window: int = 8
    newest_events: int = 64
    steps: int = 3
    step_size: float = 0.05
    radius: float = 0.1

    def __post_init__(self) -> None:
        require_types("vectors", self)
        weights = {f"{loss}_weight": self.weight(loss) for loss in LOSSES}
        require_at_least("vectors", 0, **weights)
        require_at_least("vectors", 1, window=self.window, newest_events=self.newest_events, steps=self.steps)
        require_positive("vectors", step_size=self.step_size, radius=self.radius)
        if not any(weights.values()):
            raise UserError("vectors: all losses have weight 0; give one of them a weight, such as 1.")
        for loss, fewest in self._fewest_events().items():
            if self.weight(loss) and self.newest_events < fewest:
                raise UserError(
                    f"vectors.newest_events ({self.newest_events}) must be at least {fewest} for the {loss} loss; "
                    f"raise it, or set vectors.{loss}_weight to 0."
                )

    def _fewest_events(self) -> dict[str, int]:
        """Newest events without which a loss has no pair, however long a history is."""
        return {
            "next_token": 2,
            "multi_token": 2,
            "future_token": self.window + 1,
            "masked_event": HIDDEN_EVERY,
            "contrastive": 2,
        }

    def weight(self, loss: str) -> float:
        """Of one of `LOSSES`."""
        weight: float = getattr(self, f"{loss}_weight")
        return weight


@dataclass(frozen=True, kw_only=True)
class TrustConfig:
    """Which events of a history are dropped; see `model/adaptation/trust.py`.

    Args:
        anchors: events of a history whose states are asked what the user comes to, evenly spaced; fewer are faster.
        threshold: an event of less trust is dropped. At 0.1 it is dropped where the public's states explain its item
            nine times as well as the user's own do.
    """

    anchors: int = 32
    threshold: float = 0.1

    def __post_init__(self) -> None:
        require_types("trust", self)
        require_at_least("trust", 1, anchors=self.anchors)
        if not 0.0 <= self.threshold < 1.0:
            raise UserError(f"trust.threshold ({self.threshold}) must lie in [0, 1).")
