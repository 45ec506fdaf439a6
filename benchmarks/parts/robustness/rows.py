"""What is compared: defences, and the attacks that each of them is put to."""

from dataclasses import dataclass

from benchmarks.parts.robustness.experiment import Attack
from pinfm.model.adaptation.config import LOSSES, TrustConfig, VectorAdaptationConfig

CLEAN = Attack(kind="clean")
PGD = Attack(kind="pgd", size=0.5)
SUBSTITUTION = Attack(kind="substitution", size=32)
HOT_FLIP = Attack(kind="hot_flip", size=8)
INJECTION = Attack(kind="injection", size=16)
# The columns of the main tables.
ATTACKS = (
    CLEAN,
    PGD,
    SUBSTITUTION,
    HOT_FLIP,
    INJECTION,
    Attack(kind="promotion", size=16),
    Attack(kind="deletion", size=16),
    Attack(kind="shuffling"),
)
# By somebody who knows the trust weights.
EVADING = Attack(kind="evading", size=HOT_FLIP.size)
# More or less of three of them.
SWEEPS = {
    "pgd": (0.1, 0.2, 0.5, 1),
    "substitution": (4, 8, 16, 32),
    "injection": (4, 8, 16, 32),
}
# How far and how often the vectors are moved.
RADIUS, STEPS = 0.3, 3
RADII_AND_STEPS = ((0.1, 3), (RADIUS, 1), (RADIUS, STEPS), (RADIUS, 10), (1.0, 3), (1.0, 10))


@dataclass(frozen=True, kw_only=True)
class Row:
    """A defence.

    Args:
        name: in the JSON file.
        told: what it is, for the reader of the tables.
        training: one of `data.TRAININGS`.
        defence: what a served model does about histories; None for nothing.
        swept: kinds of `SWEEPS` that it is put to.
        evaded: whether it is put to `EVADING`.
    """

    name: str
    told: str
    training: str = "plain"
    defence: VectorAdaptationConfig | TrustConfig | None = None
    swept: tuple[str, ...] = ()
    evaded: bool = False

    def attacks(self) -> list[Attack]:
        """What it is put to, each once."""
        more = [Attack(kind=kind, size=size) for kind in self.swept for size in SWEEPS[kind]]
        return list(dict.fromkeys([*ATTACKS, *more, *([EVADING] if self.evaded else [])]))


def vectors(*losses: str, radius: float = RADIUS, steps: int = STEPS) -> VectorAdaptationConfig:
    """Adaptation against some of the losses, all of one weight."""
    weights = {f"{loss}_weight": float(loss in losses) for loss in LOSSES}
    return VectorAdaptationConfig(**weights, radius=radius, steps=steps, step_size=radius / 2)  # type: ignore[arg-type]


NONE = Row(name="none", told="none", swept=tuple(SWEEPS), evaded=True)
SINGLES = tuple(Row(name=loss, told=f"{loss.replace('_', ' ')} alone", defence=vectors(loss)) for loss in LOSSES)
ALL = Row(name="all", told="all five losses", defence=vectors(*LOSSES), swept=("pgd",))
TRUST = Row(name="trust", told="trust weights", defence=TrustConfig(), swept=tuple(SWEEPS), evaded=True)
ADVERSARIAL = Row(name="adversarial", told="adversarially trained", training="adversarial", swept=tuple(SWEEPS))
BOTH = Row(
    name="adversarial_trust",
    told="adversarially trained, trust weights",
    training="adversarial",
    defence=TrustConfig(),
)
ROWS = (NONE, *SINGLES, ALL, TRUST, ADVERSARIAL, BOTH)
# The adaptation's own sweep, put to two attacks.
ADAPTED = tuple(
    Row(name=f"all {radius:g} {steps}", told="", defence=vectors(*LOSSES, radius=radius, steps=steps))
    for radius, steps in RADII_AND_STEPS
)
ADAPTED_ATTACKS = (CLEAN, PGD)
# Attacked by somebody who knows the defence.
AWARE = (NONE, ALL)
