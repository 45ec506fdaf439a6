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
# Of the adaptation in the main tables.
RADIUS, STEPS = 0.3, 3


@dataclass(frozen=True, kw_only=True)
class Row:
    """A defence.

    Args:
        name: in the JSON file.
        told: what it is, for the reader of the tables.
        training: one of `data.TRAININGS`.
        defence: what a served model does about histories; None for nothing.
        put_to: the attacks that it is put to.
        swept: kinds of `SWEEPS` that it is put to beside them.
    """

    name: str
    told: str = ""
    training: str = "plain"
    defence: VectorAdaptationConfig | TrustConfig | None = None
    put_to: tuple[Attack, ...] = ATTACKS
    swept: tuple[str, ...] = ()

    def attacks(self) -> list[Attack]:
        """What it is put to, each once."""
        more = [Attack(kind=kind, size=size) for kind in self.swept for size in SWEEPS[kind]]
        return list(dict.fromkeys([*self.put_to, *more]))


def vectors(*losses: str, radius: float = RADIUS, steps: int = STEPS) -> VectorAdaptationConfig:
    """Adaptation against some of the losses, all of one weight."""
    weights = {f"{loss}_weight": float(loss in losses) for loss in LOSSES}
    return VectorAdaptationConfig(**weights, radius=radius, steps=steps, step_size=radius / 2)  # type: ignore[arg-type]


NONE = Row(name="none", told="none", put_to=(*ATTACKS, EVADING), swept=tuple(SWEEPS))
SINGLES = tuple(Row(name=loss, told=f"{loss.replace('_', ' ')} alone", defence=vectors(loss)) for loss in LOSSES)
ALL = Row(name="all", told="all five losses", defence=vectors(*LOSSES), swept=("pgd",))
TRUST = Row(
    name="trust",
    told="trust weights",
    defence=TrustConfig(),
    put_to=(*ATTACKS, EVADING),
    swept=tuple(SWEEPS),
)
ADVERSARIAL = Row(name="adversarial", told="adversarially trained", training="adversarial", swept=tuple(SWEEPS))
BOTH = Row(
    name="adversarial_trust",
    told="adversarially trained, trust weights",
    training="adversarial",
    defence=TrustConfig(),
)
# The rows of the main tables.
ROWS = (NONE, *SINGLES, ALL, TRUST, ADVERSARIAL, BOTH)
# How far and how often the vectors are moved.
ADAPTED = {
    (radius, steps): Row(
        name=f"all {radius:g} {steps}", defence=vectors(*LOSSES, radius=radius, steps=steps), put_to=(CLEAN, PGD)
    )
    for radius, steps in ((0.1, 3), (RADIUS, 1), (RADIUS, STEPS), (RADIUS, 10), (1.0, 3), (1.0, 10))
}
# Below which trust an event is dropped.
THRESHOLDS = {
    threshold: Row(
        name=f"trust {threshold:g}",
        defence=TrustConfig(threshold=threshold),
        put_to=(CLEAN, SUBSTITUTION, HOT_FLIP, INJECTION),
    )
    for threshold in (0.03, 0.1, 0.2, 0.3, 0.4)
}
EVERY_ROW = (*ROWS, *ADAPTED.values(), *THRESHOLDS.values())
# Attacked by somebody who knows the defence.
AWARE = (NONE, ALL)
