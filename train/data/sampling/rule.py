"""How candidates are drawn, as flags say it."""

from dataclasses import dataclass, fields
from typing import Literal

from pinfm.embeddings.errors import UserError, require_types

Kind = Literal["uniform", "recent", "session"]
# Every draw of every request is a row on its way.
MOST_CANDIDATES = 10_000


@dataclass(frozen=True, kw_only=True)
class CandidateRule:
    """What the candidates beside an answer are drawn from, always strictly before its moment.

    Args:
        kind: `uniform`: the items that were there, each as likely as the next; `recent`: the answers of the
            `window_seconds` before, each as likely as the next, so that an item is drawn by its popularity then;
            `session`: the `session_events` answers before, likewise.
        others: most candidates beside the answer.
        draws: draws for each request; repeats, and items that the user had, fall away.
        window_seconds: of `recent`.
        session_events: of `session`.
        seed: of the draws.
    """

    kind: Kind
    others: int
    draws: int
    window_seconds: int = 86_400
    session_events: int = 1000
    seed: int = 0

    def __post_init__(self) -> None:
        require_types("", self)


@dataclass(frozen=True, kw_only=True)
class SamplingFlags:
    """Flags that make requests of a log without impressions.

    Args:
        sampled_candidates: makes a request of each positive event, among candidates that are drawn: `uniform` from the
            items there were, `recent` by their popularity in the last --popularity-hours, `session` from the newest
            --session-events of all users; all strictly before. --tasks then names the actions that are answers, and
            is the positive ones by default.
        candidates_per_request: most candidates of a drawn request, its answer among them.
        popularity_hours: the hours before a request that `recent` draws from.
        session_events: the events before a request that `session` draws from.
        seed: of the draws.
    """

    sampled_candidates: Kind | None = None
    candidates_per_request: int = 20
    popularity_hours: float = 24.0
    session_events: int = 1000
    seed: int = 0

    def candidate_rule(self) -> CandidateRule | None:
        """Returns what the flags say; None where nothing is drawn.

        Raises:
            UserError: a value is too small, or does nothing.
        """
        self._require_use()
        if not 2 <= self.candidates_per_request <= MOST_CANDIDATES:
            raise UserError(
                f"candidates_per_request ({self.candidates_per_request}) must lie between 2, the answer and another, "
                f"and {MOST_CANDIDATES:,}"
            )
        if not 0.01 <= self.popularity_hours <= 1e6:
            raise UserError(f"popularity_hours ({self.popularity_hours}) must lie between 0.01 and 1,000,000")
        if self.session_events < 1 or self.seed < 0:
            raise UserError(
                f"session_events ({self.session_events}) must be at least 1 and seed ({self.seed}) at least 0; give a "
                "larger number"
            )
        if self.sampled_candidates is None:
            return None
        others = self.candidates_per_request - 1
        return CandidateRule(
            kind=self.sampled_candidates,
            others=others,
            # Twice as many as are kept, for repeats and known items fall away.
            draws=2 * others,
            window_seconds=round(3600 * self.popularity_hours),
            session_events=self.session_events,
            seed=self.seed,
        )

    def _require_use(self) -> None:
        """Refuses a flag that would change nothing."""
        for flag, kind in (("popularity_hours", "recent"), ("session_events", "session")):
            if getattr(self, flag) != _default(flag) and self.sampled_candidates != kind:
                raise UserError(f"{flag} is a setting of --sampled-candidates {kind}; give both, or leave it out")
        for flag in ("candidates_per_request", "seed"):
            if getattr(self, flag) != _default(flag) and self.sampled_candidates is None:
                raise UserError(f"{flag} is a setting of --sampled-candidates; give both, or leave it out")


def _default(flag: str) -> object:
    return next(field.default for field in fields(SamplingFlags) if field.name == flag)
