"""Attacks on the events themselves, which anybody with an account, a bot or a click farm can make.

Whatever is put in has an action and a surface that somebody's real event had, and a time between two real events of
the history, or between the newest and the request.

T  events of all requests     L  of one     P  events of a pool
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor

from benchmarks.parts.robustness.requests import Requests, request_rng
from pinfm.inference.requests.columns import HISTORY
from pinfm.model.inputs import History
from pinfm.model.item_ages import SECONDS_PER_DAY
from pinfm.train.data.ragged import IntArray


class Tampered(NamedTuple):
    """Requests after an attack.

    Args:
        requests: with other histories.
        planted: (T,) bool, the events that the attacker put there.
    """

    requests: Requests
    planted: Tensor


@dataclass(frozen=True, kw_only=True)
class Events:
    """One history, oldest event first.

    Args:
        columns: (L,) each, by the names of `HISTORY`.
        planted: (L,) which of them an attacker put there.
    """

    columns: Mapping[str, IntArray]
    planted: npt.NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.planted)

    def take(self, rows: npt.NDArray[np.int64]) -> "Events":
        """Some of them, in this order."""
        return Events(columns={name: of[rows] for name, of in self.columns.items()}, planted=self.planted[rows])


class EventAttack(Protocol):
    """What becomes of one history."""

    def __call__(self, events: Events, request_id: int, now: int, rng: np.random.Generator) -> Events:
        """The history after the attack.

        Args:
            events: before it.
            request_id: of the request.
            now: Unix seconds of the request; all events are older.
            rng: of this request alone.
        """


@dataclass(frozen=True, kw_only=True)
class Substitution:
    """Some events are replaced where they stand, by events of others.

    Args:
        count: how many, at most all.
        pool: what to draw from.
    """

    count: int
    pool: Events

    def __call__(self, events: Events, request_id: int, now: int, rng: np.random.Generator) -> Events:
        """See `EventAttack`."""
        places = rng.choice(len(events), min(self.count, len(events)), replace=False)
        drawn = self.pool.take(rng.integers(len(self.pool), size=len(places)))
        columns = {name: of.copy() for name, of in events.columns.items()}
        for name in columns.keys() - {"timestamp"}:
            columns[name][places] = drawn.columns[name]
        planted = events.planted.copy()
        planted[places] = True
        return Events(columns=columns, planted=planted)


@dataclass(frozen=True, kw_only=True)
class Injection:
    """Events are put between the real ones; the oldest ones give way where the model reads no more.

    Args:
        count: how many.
        pool: what to draw from.
        max_history: newest events that the model reads.
        items: request id -> the items to draw from instead of the pool's, where some item is to be promoted.
    """

    count: int
    pool: Events
    max_history: int
    items: Mapping[int, IntArray] | None = None

    def __call__(self, events: Events, request_id: int, now: int, rng: np.random.Generator) -> Events:
        """See `EventAttack`."""
        drawn = self.pool.take(rng.integers(len(self.pool), size=self.count))
        # An empty history is given events of the last day.
        starts = events.columns["timestamp"] if len(events) else np.array([now - SECONDS_PER_DAY])
        after = rng.integers(len(starts), size=self.count)
        until = np.append(starts[1:], now - 1)[after]
        columns = {**drawn.columns, "timestamp": rng.integers(starts[after], until, endpoint=True)}
        if self.items is not None:
            columns["item_id"] = rng.choice(self.items[request_id], self.count)
        both = {name: np.concatenate([events.columns[name], columns[name]]) for name in HISTORY}
        planted = np.concatenate([events.planted, np.ones(self.count, dtype=np.bool_)])
        in_time = np.argsort(both["timestamp"], kind="stable")
        return Events(columns=both, planted=planted).take(in_time[-self.max_history :])


@dataclass(frozen=True, kw_only=True)
class Deletion:
    """Some events are missing.

    Args:
        count: how many, at most all but one.
    """

    count: int

    def __call__(self, events: Events, request_id: int, now: int, rng: np.random.Generator) -> Events:
        """See `EventAttack`."""
        left = max(len(events) - self.count, min(len(events), 1))
        return events.take(np.sort(rng.choice(len(events), left, replace=False)))


@dataclass(frozen=True, kw_only=True)
class Shuffling:
    """The events change places; the times stay."""

    def __call__(self, events: Events, request_id: int, now: int, rng: np.random.Generator) -> Events:
        """See `EventAttack`."""
        shuffled = events.take(rng.permutation(len(events)))
        return Events(columns={**shuffled.columns, "timestamp": events.columns["timestamp"]}, planted=shuffled.planted)


def tamper(requests: Requests, attack: EventAttack, seed: int = 0) -> Tampered:
    """Attacks the history of every request.

    Args:
        requests: before the attack.
        attack: what is done.
        seed: of its draws, which follow from each request's id.
    """
    nows, ids = requests.inputs["request_timestamp"].tolist(), requests.request_id.tolist()
    found = [
        attack(events, request_id, now, request_rng(seed, request_id))
        for events, request_id, now in zip(split(requests), ids, nows, strict=True)
    ]
    return Tampered(requests.with_history(_joined(found)), torch.from_numpy(_concatenate([e.planted for e in found])))


def split(requests: Requests) -> list[Events]:
    """The history of each request."""
    ends = np.cumsum(requests.history.lengths.numpy())[:-1]
    columns = {name: np.split(requests.inputs[f"history_{name}"].numpy(), ends) for name in HISTORY}
    return [
        Events(
            columns={name: of[row] for name, of in columns.items()},
            planted=np.zeros(len(columns["item_id"][row]), dtype=np.bool_),
        )
        for row in range(len(requests.request_id))
    ]


def positive_pool(requests: Requests, positive_codes: Sequence[int]) -> Events:
    """The positive events of many histories: to draw one is to draw an item by its popularity."""
    history = requests.history
    kept_P = torch.isin(history.action, torch.tensor(positive_codes)).numpy()
    columns = {name: requests.inputs[f"history_{name}"].numpy()[kept_P] for name in HISTORY}
    return Events(columns=columns, planted=np.zeros(int(kept_P.sum()), dtype=np.bool_))


def _joined(histories: Sequence[Events]) -> History:
    lengths = torch.tensor([len(events) for events in histories], dtype=torch.int64)
    columns = (_concatenate([events.columns[name] for events in histories]) for name in HISTORY)
    return History(lengths, *(torch.from_numpy(column) for column in columns))


def _concatenate(parts: Sequence[npt.NDArray[np.generic]]) -> npt.NDArray[np.generic]:
    return np.concatenate(parts) if parts else np.zeros(0, dtype=np.int64)
