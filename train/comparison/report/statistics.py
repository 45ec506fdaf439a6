"""What a handful of retrained runs tells: spread, intervals of paired differences, and whether a ranking is stable."""

import itertools
import math
import statistics
from collections.abc import Sequence
from typing import NamedTuple


class Difference(NamedTuple):
    """A mean of paired differences, and half of its 95 % interval.

    Args:
        mean: over the pairs.
        half: of the interval; None of a single pair, which has none.
    """

    mean: float
    half: float | None

    @property
    def verdict(self) -> str:
        """`shown` where the whole interval lies above zero, `refuted` where it lies below."""
        if self.half is None or abs(self.mean) <= self.half:
            return "cannot tell"
        return "shown" if self.mean > 0 else "refuted"


def paired_difference(ours: Sequence[float], theirs: Sequence[float]) -> Difference:
    """How much more ours is, with Student's interval over the pairs.

    Args:
        ours: one value a seed.
        theirs: under the same seeds.

    Example:
        >>> difference = paired_difference([0.75, 0.77, 0.76], [0.74, 0.74, 0.75])
        >>> round(difference.mean, 4), round(difference.half, 4), difference.verdict
        (0.0167, 0.0287, 'cannot tell')
    """
    differences = [a - b for a, b in zip(ours, theirs, strict=True)]
    mean = statistics.mean(differences)
    if len(differences) < 2:
        return Difference(mean, None)
    error = statistics.stdev(differences) / math.sqrt(len(differences))
    return Difference(mean, student_quantile(len(differences) - 1) * error)


def student_quantile(freedom: int, probability: float = 0.975) -> float:
    """The quantile of Student's t, by bisection of its distribution function.

    Args:
        freedom: whole degrees of freedom.
        probability: above one half.

    Example:
        >>> round(student_quantile(4), 3)
        2.776
    """
    low, high = 0.0, 1.0
    while student_distribution(high, freedom) < probability:
        high *= 2
    for _ in range(80):
        middle = (low + high) / 2
        if student_distribution(middle, freedom) < probability:
            low = middle
        else:
            high = middle
    return high


def student_distribution(t: float, freedom: int) -> float:
    """P(T <= t) of Student's T with whole degrees of freedom, t at least 0.

    Source: Abramowitz and Stegun, Handbook of Mathematical Functions, 26.7.3 and 26.7.4.
    """
    angle = math.atan2(t, math.sqrt(freedom))
    sine, cosine = math.sin(angle), math.cos(angle)
    # Of odd degrees the sum begins with the cosine, of even ones with 1; each term makes the next.
    term = cosine if freedom % 2 else 1.0
    total = 0.0
    for i in range(2 + freedom % 2, freedom + 1, 2):
        total += term
        term *= cosine**2 * (i - 1) / i
    inside = 2 / math.pi * (angle + sine * total) if freedom % 2 else sine * total
    return 0.5 + inside / 2


def kendall_tau_b(a: Sequence[float], b: Sequence[float]) -> float:
    """Agreement of two rankings, 1 where they are the same, -1 where they are reversed; ties count as in tau-b.

    Returns:
        NaN where one of the two knows ties alone.

    Example:
        >>> kendall_tau_b([1, 2, 3], [1, 3, 2])
        0.3333333333333333
    """
    agreement = pairs_a = pairs_b = 0
    for i, j in itertools.combinations(range(len(a)), 2):
        sign_a, sign_b = _sign(a[i] - a[j]), _sign(b[i] - b[j])
        agreement += sign_a * sign_b
        pairs_a, pairs_b = pairs_a + abs(sign_a), pairs_b + abs(sign_b)
    return agreement / math.sqrt(pairs_a * pairs_b) if pairs_a and pairs_b else math.nan


def rank_stability(columns: Sequence[Sequence[float]]) -> float | None:
    """Mean of Kendall's tau-b over any two seeds; None where there is but one seed or one form.

    Args:
        columns: one a seed: a value a form.
    """
    taus = [kendall_tau_b(a, b) for a, b in itertools.combinations(columns, 2)]
    defined = [tau for tau in taus if not math.isnan(tau)]
    return statistics.mean(defined) if defined else None


def _sign(x: float) -> int:
    return (x > 0) - (x < 0)
