"""What is claimed of the defences, each with its 95 % interval over the seeds."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.parts.robustness.experiment import Attack
from benchmarks.parts.robustness.rows import (
    ALL,
    CLEAN,
    HOT_FLIP,
    INJECTION,
    NONE,
    PGD,
    ROWS,
    SINGLES,
    SUBSTITUTION,
    TRUST,
)
from benchmarks.parts.robustness.tables import Seeds, values
from pinfm.train.comparison.report.markdown import table
from pinfm.train.comparison.report.statistics import Difference, paired_difference

SAME_AUC, WON_BACK, DETECTED = 0.001, 0.3, 0.9


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """A claim and what was found.

    Args:
        told: the claim.
        found: the mean and half of its interval.
        met: whether the mean is where it should be; of an order, the whole interval.
    """

    told: str
    found: Difference
    met: bool

    def line(self) -> list[str]:
        """A row of the table."""
        half = "" if self.found.half is None else f" ± {self.found.half:.4f}"
        return [self.told, f"{self.found.mean:+.4f}{half}", "met" if self.met else "not met"]


def verdicts(seeds: Seeds, where_injected_is_known: bool) -> list[Verdict]:
    """Every claim that the figures can tell of.

    Args:
        seeds: the figures.
        where_injected_is_known: whether detection is claimed, as in the simulator.
    """
    found = [_clean(seeds, row.name, row.told) for row in ROWS if row.name != NONE.name]
    found += _ordering(seeds)
    for attack in (SUBSTITUTION, HOT_FLIP):
        found += [_won_back(seeds, row.name, row.told, attack) for row in ROWS if row.name != NONE.name]
    if where_injected_is_known and (detected := values(seeds, TRUST.name, INJECTION, "detection_own")):
        difference = _mean(detected)
        told = f"injected events are told from real ones, AUC above {DETECTED:g}"
        found.append(Verdict(told=told, found=difference, met=difference.mean > DETECTED))
    return [verdict for verdict in found if verdict is not None]


def claims_table(seeds: Seeds, where_injected_is_known: bool) -> str:
    """A line a claim."""
    heading = ["claim", "found, with its 95 % interval", "verdict"]
    return table(heading, [verdict.line() for verdict in verdicts(seeds, where_injected_is_known)])


def best_single(seeds: Seeds) -> str:
    """The loss whose adaptation has most AUC under PGD, in the mean over the seeds."""
    return max((row.name for row in SINGLES), key=lambda name: statistics.mean(values(seeds, name, PGD, "auc") or [0]))


def _clean(seeds: Seeds, row: str, told: str) -> Verdict | None:
    ours, theirs = values(seeds, row, CLEAN, "auc"), values(seeds, NONE.name, CLEAN, "auc")
    if not ours:
        return None
    difference = paired_difference(ours, theirs)
    claim = f"{told}: clean AUC within {SAME_AUC:g} of none"
    return Verdict(told=claim, found=difference, met=abs(difference.mean) <= SAME_AUC)


def _ordering(seeds: Seeds) -> list[Verdict]:
    """Several losses over the best single one, and that one over none, under PGD."""
    best = best_single(seeds)
    pairs = (
        (ALL.name, best, f"all five losses over the best single one ({best})"),
        (best, NONE.name, "that one over none"),
    )
    found = []
    for ours, theirs, told in pairs:
        columns = [values(seeds, row, PGD, "auc") for row in (ours, theirs)]
        if all(columns):
            difference = paired_difference(*columns)
            claim = f"under {PGD.name}: {told}"
            found.append(Verdict(told=claim, found=difference, met=difference.verdict == "shown"))
    return found


def _won_back(seeds: Seeds, row: str, told: str, attack: Attack) -> Verdict | None:
    """The share of the AUC lost to substitution that a defence wins back."""
    ours, attacked = values(seeds, row, attack, "auc"), values(seeds, NONE.name, attack, "auc")
    if not ours:
        return None
    clean = values(seeds, NONE.name, CLEAN, "auc")
    # Of the loss in the mean over the seeds: a seed that hardly lost anything would decide alone.
    lost = statistics.mean(clean) - statistics.mean(attacked)
    if lost <= 0:  # then there is nothing to win back
        return None
    won = paired_difference(ours, attacked)
    share = Difference(won.mean / lost, None if won.half is None else abs(won.half / lost))
    claim = f"{told}: at least {WON_BACK:.0%} of the {lost:.4f} AUC lost to {attack.name} won back"
    return Verdict(told=claim, found=share, met=share.mean >= WON_BACK)


def _mean(found: Sequence[float]) -> Difference:
    return paired_difference(found, [0.0] * len(found))
