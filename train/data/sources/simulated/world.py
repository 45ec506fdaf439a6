"""A world with topics, drifting users and items that come and go; its formulae are in docs/data.md.

Shape suffixes: I items, U users of a block, T topics, K latent dimensions, D days, P periods, R requests, C
candidates, N impressions.
"""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pinfm.train.data.sources.simulated.items import (
    DAY,
    LATENT_DIM,
    NUM_TOPICS,
    START,
    Ints,
    Items,
    Reals,
    WorldSize,
    unit,
)
from pinfm.train.data.sources.simulated.lives import Lives, lives_of

BLOCK_USERS = 1024  # users that share one random stream; part of the definition of a world


class Shown(NamedTuple):
    """Impressions of a block of users, request by request."""

    user_N: Ints
    request_N: Ints
    timestamp_N: Ints
    position_N: Ints
    surface_N: Ints
    item_N: Ints
    chance_N: Reals  # of a click: what nobody knows, and no ranker can do better than
    click_N: npt.NDArray[np.bool_]
    save_N: npt.NDArray[np.bool_]
    hide_N: npt.NDArray[np.bool_]


class World:
    """Users and items of one seed.

    Args:
        size: how large it is.
        seed: everything follows from it; the users of block b follow from (seed, b) alone.
    """

    def __init__(self, size: WorldSize, seed: int):
        self.size = size
        self.seed = seed
        rng = np.random.default_rng([seed, 0])
        self.topic_TK = unit(rng.standard_normal((NUM_TOPICS, LATENT_DIM)))
        self.items, self.lives = self._make_items(rng)
        self._exposure = self._exposures()
        self._first_of_topic = np.searchsorted(self.items.topic_I, np.arange(NUM_TOPICS + 1))

    @property
    def num_blocks(self) -> int:
        """Blocks of users."""
        return -(-self.size.num_users // BLOCK_USERS)

    def block(self, block: int) -> Shown:
        """Returns what happened to the users of a block."""
        rng = np.random.default_rng([self.seed, 1, block])
        first = block * BLOCK_USERS
        users = min(BLOCK_USERS, self.size.num_users - first)
        lasting_UK = unit(self._topics(rng, users) + 0.5 * rng.standard_normal((users, LATENT_DIM)))
        mood_UDK = self._drift(rng, lasting_UK)
        user_R = np.repeat(np.arange(users), 1 + rng.poisson(max(self.size.requests_per_user - 1, 0), users))
        second_R = self.lives.request_seconds(rng, len(user_R))
        order_R = np.lexsort((second_R, user_R))
        second_R = second_R[order_R]
        period_R = second_R // self.lives.period_seconds
        wish_RK = unit(0.5 * lasting_UK[user_R] + mood_UDK[user_R, second_R // DAY])
        item_RC = self._show(rng, wish_RK, period_R)
        keep_RC = _first_occurrences(item_RC)
        surface_R = rng.integers(0, self.size.num_surfaces, len(user_R))
        request_N, position_N = np.nonzero(keep_RC)
        item_N = item_RC[keep_RC]
        chance_N = self._click_chances(item_N, wish_RK[request_N], surface_R[request_N], period_R[request_N])
        click_N, save_N, hide_N = self._feedback(
            rng, item_N, chance_N, wish_RK[request_N], lasting_UK[user_R[request_N]]
        )
        rank_R = np.arange(len(user_R)) - np.searchsorted(user_R, user_R)
        return Shown(
            user_N=first + user_R[request_N],
            # Twenty bits for a user's requests keep the ids of all users apart.
            request_N=((first + user_R) << 20 | rank_R)[request_N],
            timestamp_N=START + second_R[request_N],
            position_N=position_N,
            surface_N=surface_R[request_N],
            item_N=item_N,
            chance_N=chance_N,
            click_N=click_N,
            save_N=save_N,
            hide_N=hide_N,
        )

    def _make_items(self, rng: np.random.Generator) -> tuple[Items, Lives]:
        count = self.size.num_items
        topic_I = np.sort(rng.integers(0, NUM_TOPICS, count))
        latent_IK = unit(self.topic_TK[topic_I] + 0.5 / np.sqrt(LATENT_DIM) * rng.standard_normal((count, LATENT_DIM)))
        quality_I = rng.standard_normal(count)
        lives = lives_of(self.size, rng)
        basis = rng.standard_normal((LATENT_DIM, self.size.content_dim)) / np.sqrt(LATENT_DIM)
        content = latent_IK @ basis + 0.1 * rng.standard_normal((count, self.size.content_dim))
        created_I = START + np.floor(lives.born_day_I * DAY).astype(np.int64)
        return Items(topic_I, latent_IK, quality_I, created_I, content), lives

    def _exposures(self) -> Reals:
        """Running sum, period after period and item after item, of how much of its attention an item gets."""
        periods = self.size.num_days * DAY // self.lives.period_seconds
        weight_PI = np.empty((periods, self.size.num_items))
        for period in range(periods):
            weight_PI[period] = self.lives.attention(period, self.items.quality_I)
        return np.concatenate([[0.0], np.cumsum(weight_PI)])

    def _topics(self, rng: np.random.Generator, users: int) -> Reals:
        return self.topic_TK[rng.integers(0, NUM_TOPICS, users)]

    def _drift(self, rng: np.random.Generator, lasting_UK: Reals) -> Reals:
        """Moods (U, D, K): a random walk that starts at the lasting interest."""
        mood_UDK = np.empty((len(lasting_UK), self.size.num_days, LATENT_DIM))
        mood_UK = lasting_UK
        for day in range(self.size.num_days):
            mood_UDK[:, day] = mood_UK
            mood_UK = unit(mood_UK + 0.3 / np.sqrt(LATENT_DIM) * rng.standard_normal(mood_UK.shape))
        return mood_UDK

    def _show(self, rng: np.random.Generator, wish_RK: Reals, period_R: Ints) -> Ints:
        """Draws the items of each request (R, C): 70 % from topics that the user wishes, the rest from all."""
        shape = (len(period_R), self.size.candidates_per_request)
        taste_RT = np.cumsum(np.exp(4 * wish_RK @ self.topic_TK.T), axis=1)
        aim_RC = rng.random(shape) * taste_RT[:, -1:]
        topic_RC = (aim_RC[:, :, None] >= taste_RT[:, None, :-1]).sum(axis=2)
        chosen_RC = rng.random(shape) < 0.7
        offset_R1 = period_R[:, None] * self.size.num_items
        low_RC = self._exposure[offset_R1 + np.where(chosen_RC, self._first_of_topic[topic_RC], 0)]
        high_RC = self._exposure[
            offset_R1 + np.where(chosen_RC, self._first_of_topic[topic_RC + 1], self.size.num_items)
        ]
        whole_low_R1, whole_high_R1 = self._exposure[offset_R1], self._exposure[offset_R1 + self.size.num_items]
        empty_RC = high_RC <= low_RC  # a topic without a living item
        low_RC = np.where(empty_RC, whole_low_R1, low_RC)
        high_RC = np.where(empty_RC, whole_high_R1, high_RC)
        drawn_RC = low_RC + rng.random(shape) * (high_RC - low_RC)
        # Rounding may reach the upper end, which belongs to the next slice.
        drawn_RC = np.minimum(drawn_RC, np.nextafter(high_RC, low_RC))
        return np.searchsorted(self._exposure, drawn_RC, side="right") - 1 - offset_R1

    def _click_chances(self, item_N: Ints, wish_NK: Reals, surface_N: Ints, period_N: Ints) -> Reals:
        now_N = (wish_NK * self.items.latent_IK[item_N]).sum(axis=1)
        lasting_N = -1.5 + 3.0 * now_N + 0.5 * self.items.quality_I[item_N]
        # The last of them costs as much however many there are.
        lasting_N -= 0.6 / max(1, self.size.num_surfaces - 1) * surface_N
        return _sigmoid(lasting_N + self.lives.heat(item_N, period_N))

    def _feedback(
        self, rng: np.random.Generator, item_N: Ints, chance_N: Reals, wish_NK: Reals, lasting_NK: Reals
    ) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.bool_], npt.NDArray[np.bool_]]:
        latent_NK, quality_N = self.items.latent_IK[item_N], self.items.quality_I[item_N]
        now_N = (wish_NK * latent_NK).sum(axis=1)
        ever_N = (lasting_NK * latent_NK).sum(axis=1)
        drawn_3N = rng.random((3, len(item_N)))
        click_N = drawn_3N[0] < chance_N
        save_N = click_N & (drawn_3N[1] < _sigmoid(-2.5 + 3.0 * ever_N + 0.5 * quality_N))
        hide_N = ~click_N & (drawn_3N[2] < _sigmoid(-4.0 - 2.0 * now_N - 0.5 * quality_N))
        return click_N, save_N, hide_N


def _sigmoid(x: Reals) -> Reals:
    return 1 / (1 + np.exp(-x))


def _first_occurrences(item_RC: Ints) -> npt.NDArray[np.bool_]:
    """True where a row holds its item for the first time."""
    order_RC = np.argsort(item_RC, axis=1, kind="stable")
    sorted_RC = np.take_along_axis(item_RC, order_RC, axis=1)
    first_RC = np.ones(item_RC.shape, dtype=bool)
    first_RC[:, 1:] = sorted_RC[:, 1:] != sorted_RC[:, :-1]
    kept_RC = np.empty_like(first_RC)
    np.put_along_axis(kept_RC, order_RC, first_RC, axis=1)
    return kept_RC
