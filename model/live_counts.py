"""What has happened to an item until now: which counters a request brings, and the one definition of their windows.

`pinfm prepare --live-counts` computes them for every request of a log, `pinfm.inference.LiveCounts` keeps them while a
model serves, and both follow this page to the last digit (docs/live_counts.md).

    counters of a key      the marks (timestamp, key, kind) strictly before the request, in a window each
    key                    the item; an attribute of it; a user and an attribute: "item", "shop", "user.shop"
    kind                   "impression", an action of the events, or "label_TASK" of the impressions
    window                 "1h" ... or "all"

A window reaches back for its length and up to a twelfth more: it begins on a grid of twelfths, so that a host keeps
thirteen numbers a counter instead of every mark.

          t - 1h - 5 min          t - 1h                                    t
    --------|----x----------------|------------x----------------x-----------|--x--
            grid: 5 min           counted: all marks from the grid point on    not counted
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from pinfm.embeddings.errors import UserError, require_at_least, require_types
from pinfm.model.written import length_seconds

ITEM, USER = "item", "user."
IMPRESSION, LABEL = "impression", "label_"
ALL = "all"
WINDOWS = ("1h", "6h", "1d", "7d", ALL)
# What a mark consists of, beside attributes.
MARK = ("timestamp", "kind", "item_id", "user_id")
# Long enough for most of what a user does with what was shown.
LABEL_DELAY_SECONDS = 600
# Parts of a window's length that it may reach back too far.
GRID = 12
# float32, which requests carry, holds whole numbers up to here: counters stop there, in training as in serving.
LARGEST_COUNT = 1 << 24


@dataclass(frozen=True, kw_only=True)
class LiveCountsSpec:
    """The counters of a dataset.

    Args:
        of: keys: `item`, an attribute of items, or `user.` and an attribute of items.
        kinds: what is counted of each key; see `names_of_kinds` for their spelling in names of features.
        windows: lengths such as `30min`, `6h` or `7d`, and `all`.
        label_delay_seconds: a label has no time of its own: it counts from so long after its impression.
        rates: kind -> its marks for each impression, over the training split; empty where impressions are not counted.
    """

    of: tuple[str, ...]
    kinds: tuple[str, ...]
    windows: tuple[str, ...] = WINDOWS
    label_delay_seconds: int = LABEL_DELAY_SECONDS
    rates: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        require_types("live_counts", self)
        require_at_least("live_counts", 0, label_delay_seconds=self.label_delay_seconds)
        for setting in ("of", "kinds", "windows"):
            values = getattr(self, setting)
            twice = [value for value in values if values.count(value) > 1]
            if twice or not values:
                said = f"names {twice[0]!r} twice" if twice else "is empty"
                raise UserError(f"live_counts.{setting} {said}; name each of its values once.")
        for window in self.windows:
            window_seconds(window)
        for attribute in self.attributes():
            if attribute in MARK:
                raise UserError(f"the attribute {attribute!r} has the name of another column of marks; rename it.")
        self._require_rates()
        names = self.names()
        if len(set(names)) < len(names):
            twice = [name for name in names if names.count(name) > 1]
            raise UserError(f"two of the live counters would be called {twice[0]}; rename an action or an attribute.")

    def _require_rates(self) -> None:
        for kind, rate in self.rates.items() if isinstance(self.rates, Mapping) else [("rates", self.rates)]:
            is_number = isinstance(rate, (int, float)) and not isinstance(rate, bool)
            if kind not in self.kinds or not is_number or not 0 <= rate < math.inf:
                raise UserError(f"live_counts.rates has {rate!r} for {kind!r}; give a number from 0 on for a kind.")

    def attributes(self) -> tuple[str, ...]:
        """The attributes of items that keys are made of, each once."""
        named = (key.removeprefix(USER) for key in self.of if key != ITEM)
        return tuple(dict.fromkeys(named))

    def counts_users(self) -> bool:
        """Whether a key holds a user."""
        return any(key.startswith(USER) for key in self.of)

    def names(self) -> tuple[str, ...]:
        """The counters' names as dense candidate features: key after key, window after window, kind after kind."""
        spelt = names_of_kinds(self.kinds)
        return tuple(
            f"{key.replace('.', '_')}_{kind}_{window}" for key in self.of for window in self.windows for kind in spelt
        )


def names_of_kinds(kinds: Sequence[str]) -> tuple[str, ...]:
    """How kinds are spelt in the names of counters, which are identifiers: `add to cart` becomes `add_to_cart`."""
    return tuple(re.sub(r"\W", "_", kind) for kind in kinds)


def window_seconds(window: str) -> int:
    """The length of a window.

    Args:
        window: a whole number of minutes, hours or days, such as `30min`, `6h` or `7d`; or `all`.

    Returns:
        Seconds, a multiple of GRID; 0 for `all`.

    Raises:
        UserError: it is none.
    """
    if window == ALL:
        return 0
    seconds = length_seconds(window)
    if seconds is None or window.endswith("s"):  # of seconds, the grid's parts would not be whole
        raise UserError(f"the window {window!r} is no length of time; write it as 30min, 6h or 7d, or as all.")
    return seconds


def first_second(time: int, window: str) -> int:
    """The first second of which marks count for a request; those of the request's own second never do.

    Args:
        time: of the request, Unix seconds.
        window: see `window_seconds`; not `all`.
    """
    step = window_seconds(window) // GRID
    return (time // step - GRID) * step


def live_counts_from_json(values: Mapping[str, Any] | None) -> LiveCountsSpec | None:
    """The inverse of `dataclasses.asdict` on a spec, with lists where JSON has no tuples."""
    if values is None:
        return None
    listed = {name: tuple(values[name]) for name in ("of", "kinds", "windows")}
    return LiveCountsSpec(**{**values, **listed})
