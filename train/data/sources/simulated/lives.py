"""How items come and go: over weeks, or within hours and with bursts. The formulae are in docs/data.md.

Shape suffixes: I items, B bursts of an item, R requests, N impressions.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, Self

import numpy as np

from pinfm.train.data.sources.simulated.items import DAY, HOUR, Ints, Reals, WorldSize

BURSTS_PER_ITEM = 3
# Attention that the oldest items still get, of what they got at birth.
_LEFT_OVER = 1e-3
# Items that live hours are clicked less often, for most of the time: log-odds.
_SELDOM = 2.0


class Lives(Protocol):
    """The lives of a world's items. Attention is constant within a period.

    Attributes:
        period_seconds: length of a period; the first begins with the world.
    """

    period_seconds: ClassVar[int]

    @property
    def born_day_I(self) -> Reals:
        """(I,): births in days since the world began; negative ones lie before it."""

    def attention(self, period: int, quality_I: Reals) -> Reals:
        """(I,): how often an item is shown within a period, relative to the others; 0 before it is born."""

    def heat(self, item_N: Ints, period_N: Ints) -> Reals:
        """(N,): what the moment adds to the log-odds of a click; nothing but time and the item's id tells it."""

    def request_seconds(self, rng: np.random.Generator, count: int) -> Ints:
        """(count,): times of requests in seconds since the world began."""


@dataclass(frozen=True)
class Weeks:
    """60 % of the items are older than the world; each has a trend of days, and none is hotter for it."""

    period_seconds: ClassVar[int] = DAY

    num_days: int
    born_day_I: Reals
    peak_day_I: Reals

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: WorldSize) -> Self:
        """Draws the lives of all items."""
        count, days = size.num_items, size.num_days
        age_I = rng.exponential(20.0, count)  # days before the world begins
        arrives_I = rng.random(count) < 0.4
        arrives_I[0] = False  # so that the first day has something to show
        born_day_I = np.where(arrives_I, rng.uniform(0, days, count), -age_I)
        return cls(days, born_day_I, np.maximum(born_day_I, 0) + rng.exponential(3.0, count))

    def attention(self, period: int, quality_I: Reals) -> Reals:
        """See `Lives`."""
        # Births are whole seconds in the files, and attention begins with the day after them.
        age_I = period - np.floor(self.born_day_I * DAY) / DAY
        fresh_I = 0.1 + np.exp(-age_I / 7)
        trend_I = 1 + 4 * np.exp(-0.5 * (period - self.peak_day_I) ** 2)
        return np.where(age_I >= 0, fresh_I * trend_I * np.exp(0.5 * quality_I), 0)

    def heat(self, item_N: Ints, period_N: Ints) -> Reals:
        """See `Lives`."""
        return np.zeros(len(item_N))

    def request_seconds(self, rng: np.random.Generator, count: int) -> Ints:
        """See `Lives`."""
        return rng.integers(0, self.num_days * DAY, count)


@dataclass(frozen=True)
class Hours:
    """Items arrive all the time and fade within hours; each has bursts, in which it is shown and clicked more."""

    period_seconds: ClassVar[int] = HOUR

    num_days: int
    born_day_I: Reals
    half_life_I: Reals  # hours
    height_IB: Reals  # log-odds
    middle_IB: Reals  # hours since the world began
    width_IB: Reals  # hours

    @classmethod
    def drawn(cls, rng: np.random.Generator, size: WorldSize) -> Self:
        """Draws the lives of all items."""
        life, bursts = size.item_life_hours, (size.num_items, BURSTS_PER_ITEM)
        # The world begins amid the items of its past: of those born earlier hardly any attention is left.
        before = 8 * life / 24
        born_day_I = rng.uniform(-before, size.num_days, size.num_items)
        born_day_I[0] = -before  # so that the first hour has something to show
        half_life_I = life * np.exp(0.5 * rng.standard_normal(size.num_items))
        middle_IB = 24 * born_day_I[:, None] + half_life_I[:, None] * rng.uniform(0, 4, bursts)
        width_IB = half_life_I[:, None] * rng.uniform(0.1, 0.5, bursts)
        height_IB = rng.exponential(size.burst_scale, bursts)
        return cls(size.num_days, born_day_I, half_life_I, height_IB, middle_IB, width_IB)

    def attention(self, period: int, quality_I: Reals) -> Reals:
        """See `Lives`."""
        age_I = period - np.floor(self.born_day_I * DAY) / HOUR
        fresh_I = _LEFT_OVER + 0.5 ** (np.maximum(age_I, 0) / self.half_life_I)
        every_I = np.arange(len(age_I))
        heat_I = self.heat(every_I, np.full(len(age_I), period))
        weight_I = np.where(age_I >= 0, fresh_I * np.exp(0.5 * quality_I + heat_I), 0)
        # One hour's great burst must not swallow the digits of the hours after it, which are summed with it.
        return np.asarray(weight_I / weight_I.sum())

    def heat(self, item_N: Ints, period_N: Ints) -> Reals:
        """See `Lives`."""
        away_NB = (period_N[:, None] + 0.5 - self.middle_IB[item_N]) / self.width_IB[item_N]
        bursts_N: Reals = (self.height_IB[item_N] * np.exp(-0.5 * away_NB**2)).sum(axis=1)
        return np.asarray(bursts_N - _SELDOM)

    def request_seconds(self, rng: np.random.Generator, count: int) -> Ints:
        """See `Lives`; few at night: nine times as many at three in the afternoon as at three in the morning."""
        share_24 = 1 - 0.8 * np.cos(2 * np.pi * (np.arange(24) - 3) / 24)
        day_R = rng.integers(0, self.num_days, count)
        hour_R = rng.choice(24, count, p=share_24 / share_24.sum())
        return day_R * DAY + hour_R * HOUR + rng.integers(0, HOUR, count)


def lives_of(size: WorldSize, rng: np.random.Generator) -> Lives:
    """Draws the lives of a world's items."""
    return Hours.drawn(rng, size) if size.item_life_hours else Weeks.drawn(rng, size)
