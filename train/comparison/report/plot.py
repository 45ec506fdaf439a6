"""AUC against latency as an SVG file, drawn without a plotting library: a comparison runs where pinfm runs."""

import math
import statistics
from collections.abc import Iterable, Sequence
from html import escape
from typing import NamedTuple

from pinfm.train.comparison.report.rows import Budget, Row

WIDTH, HEIGHT = 760, 440
LEFT, RIGHT, TOP, BOTTOM = 70, 20, 20, 50
# Estimates for a sans-serif of 11 pixels.
LETTER, LINE = 6.0, 13.0


class Box(NamedTuple):
    """A rectangle of the picture, by its corners."""

    left: float
    top: float
    right: float
    bottom: float

    def overlaps(self, other: "Box") -> bool:
        """Whether the two share a point."""
        apart = self.right < other.left or other.right < self.left or self.bottom < other.top or other.bottom < self.top
        return not apart


class Scale:
    """From values to places: linear, or by the logarithm.

    Args:
        values: that have to be seen.
        begin: place of the smallest.
        end: place of the largest.
        logarithmic: whether equal ratios are equal distances.
    """

    def __init__(self, values: Iterable[float], begin: float, end: float, *, logarithmic: bool) -> None:
        self._begin, self._end, self._of = begin, end, math.log if logarithmic else float
        found = [self._of(value) for value in values]
        margin = 0.06 * (max(found) - min(found)) or 0.01
        self._low, self._high = min(found) - margin, max(found) + margin
        self._logarithmic = logarithmic

    def __call__(self, value: float) -> float:
        """Where a value is drawn."""
        share = (self._of(value) - self._low) / (self._high - self._low)
        return self._begin + share * (self._end - self._begin)

    def ticks(self) -> list[float]:
        """Round values within the scale, some five of them."""
        low, high = (math.exp(end) if self._logarithmic else end for end in (self._low, self._high))
        if self._logarithmic:
            powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
            candidates = [step * 10.0**power for power in powers for step in (1, 2, 3, 5, 7)]
        else:
            step = 10.0 ** math.floor(math.log10((high - low) / 2))
            step = next(step * factor for factor in (0.5, 1, 2, 5) if (high - low) / (step * factor) <= 6)
            candidates = [step * i for i in range(math.floor(low / step), math.ceil(high / step) + 1)]
        return [tick for tick in candidates if low <= tick <= high]


class Mark(NamedTuple):
    """A form in the picture.

    Args:
        row: its figures.
        auc: where it is drawn.
        below: whether its own AUC is lower, beyond the edge of the picture.
    """

    row: Row
    auc: float
    below: bool

    @property
    def label(self) -> str:
        """The form's name, with the AUC that is not drawn."""
        return f"{self.row.form} ({self.row.auc:.4f})" if self.below else self.row.form

    def ends(self) -> tuple[float, float]:
        """Lower and upper end of the spread over retraining; none where the mark is not at its AUC."""
        values = self.row.seeds["auc"]
        spread = statistics.stdev(values) if len(values) > 1 and not self.below else 0.0
        return self.auc - spread, self.auc + spread


def lowest_shown(aucs: Sequence[float]) -> float:
    """The AUC at the lower edge: one form that fails must not press all others into a line.

    It lies three times as far below the best as the median does.
    """
    best = max(aucs)
    return best - 3 * (best - statistics.median(aucs))


def draw(rows: Sequence[Row], budget: Budget) -> str:
    """The picture: a mark a form with its spread over retraining, the Pareto set joined, the latency of the budget.

    Args:
        rows: the forms.
        budget: of latency; drawn where it lies among the forms.

    Returns:
        The text of an SVG file.
    """
    floor = lowest_shown([row.auc for row in rows])
    marks = [Mark(row, max(row.auc, floor), row.auc < floor) for row in rows]
    x = Scale([row.p50_ms for row in rows], LEFT, WIDTH - RIGHT, logarithmic=True)
    y = Scale([end for mark in marks for end in mark.ends()], HEIGHT - BOTTOM, TOP, logarithmic=False)
    pareto = sorted((mark for mark in marks if mark.row.pareto), key=lambda mark: mark.row.p50_ms)
    corners = " ".join(f"{x(mark.row.p50_ms):.1f},{y(mark.auc):.1f}" for mark in pareto)
    line = f'<polyline points="{corners}" fill="none" stroke="#c33" stroke-dasharray="4 3"/>'
    parts = [_axes(x, y), _budget(x, budget), line]
    places = [(x(mark.row.p50_ms), y(mark.auc)) for mark in marks]
    taken = [Box(left - 4, top - 4, left + 4, top + 4) for left, top in places]
    for mark, place in zip(marks, places, strict=True):
        parts.append(_drawn(mark, place, y))
        box = _free_box(place, len(mark.label) * LETTER, taken)
        taken.append(box)
        parts.append(f'<text x="{box.left:.1f}" y="{box.bottom - 3:.1f}">{escape(mark.label)}</text>')
    style = 'font-family="sans-serif" font-size="11"'
    body = "\n".join(parts)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" {style}>\n'
        f'<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>\n{body}\n</svg>\n'
    )


def _axes(x: Scale, y: Scale) -> str:
    bottom, right = HEIGHT - BOTTOM, WIDTH - RIGHT
    lines = [f'<path d="M{LEFT} {TOP}V{bottom}H{right}" fill="none" stroke="#333"/>']
    for tick in x.ticks():
        lines.append(f'<path d="M{x(tick):.1f} {bottom}V{TOP}" stroke="#ddd"/>')
        lines.append(f'<text x="{x(tick):.1f}" y="{bottom + 16}" text-anchor="middle">{tick:g}</text>')
    for tick in y.ticks():
        lines.append(f'<path d="M{LEFT} {y(tick):.1f}H{right}" stroke="#ddd"/>')
        lines.append(f'<text x="{LEFT - 6}" y="{y(tick) + 4:.1f}" text-anchor="end">{tick:.4g}</text>')
    middle = (LEFT + right) / 2
    lines.append(f'<text x="{middle}" y="{HEIGHT - 12}" text-anchor="middle">p50 of a request, ms (logarithmic)</text>')
    turned = f'transform="rotate(-90 14 {(TOP + bottom) / 2})"'
    lines.append(f'<text x="14" y="{(TOP + bottom) / 2}" text-anchor="middle" {turned}>AUC, mean over the tasks</text>')
    return "\n".join(lines)


def _budget(x: Scale, budget: Budget) -> str:
    place = x(budget.latency_ms)
    if not LEFT <= place <= WIDTH - RIGHT:
        return ""
    text = f'<text x="{place - 4:.1f}" y="{TOP + 10}" text-anchor="end">budget</text>'
    return f'<path d="M{place:.1f} {TOP}V{HEIGHT - BOTTOM}" stroke="#393" stroke-dasharray="2 3"/>\n{text}'


def _drawn(mark: Mark, place: tuple[float, float], y: Scale) -> str:
    """A circle with its spread, hollow where the form does not fit; a triangle that points to what is below."""
    colour = "#c33" if mark.row.pareto else "#36c"
    fill = colour if mark.row.fits else "white"
    left, top = place
    if mark.below:
        return f'<path d="M{left - 5:.1f} {top - 4:.1f}h10l-5 9z" fill="{fill}" stroke="{colour}"/>'
    low, high = (y(end) for end in mark.ends())
    return (
        f'<path d="M{left:.1f} {low:.1f}V{high:.1f}" stroke="{colour}" stroke-opacity="0.5"/>\n'
        f'<circle cx="{left:.1f}" cy="{top:.1f}" r="4" fill="{fill}" stroke="{colour}"/>'
    )


def _free_box(place: tuple[float, float], width: float, taken: Sequence[Box]) -> Box:
    """A box for a label beside a mark: the nearest place that is free, or beside it where none is."""
    x, y = place
    boxes = []
    for rise in (0.0, -LINE, LINE, -2 * LINE, 2 * LINE, -3 * LINE, 3 * LINE):
        top = y + rise - LINE / 2
        for left in (x + 6, x - 6 - width):
            if left >= LEFT and left + width <= WIDTH:
                boxes.append(Box(left, top, left + width, top + LINE))
    free = [box for box in boxes if not any(box.overlaps(other) for other in taken)]
    return (free or boxes or [Box(x + 6, y - LINE / 2, x + 6 + width, y + LINE / 2)])[0]
