"""Figures as Markdown."""

import statistics
from collections.abc import Iterable, Sequence


def mean_and_spread(values: Sequence[float], signed: bool = False) -> str:
    """`0.7491 ± 0.0008`: mean and sample standard deviation; the mean alone of a single value, nothing of none.

    Args:
        values: of one figure.
        signed: `+0.0012 ± 0.0008`, of a difference.
    """
    if not values:
        return ""
    spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
    return f"{statistics.mean(values):{'+' if signed else ''}.4f}{spread}"


def table(heading: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    rows = [heading, ["---"] * len(heading), *lines]
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)
