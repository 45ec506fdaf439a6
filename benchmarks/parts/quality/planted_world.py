"""A world whose right answer is known: the log-odds of a click are planted terms of first, second and third order.

The value v of a field f has an effect e_f(v); fields that are no ids have a hidden factor z_f(v) too. Values are drawn
evenly and, like the two dense features x, independently of each other; effects, factors and x have mean 0 and
variance 1.

    first  = (sum over all fields of e_f  +  sum of x) / sqrt(number of them)
    second = (sum over the planted pairs of z_f z_g) / sqrt(number of pairs)
    third  = (sum over the planted triples of z_f z_g z_h) / sqrt(number of triples)

    log-odds of `pairs`   = bias + w_1 first + w_2 second
    log-odds of `triples` = bias + w_1 first + w_2 second + w_3 third

Given all but one of its fields, a product of factors has mean 0, so it has nothing in common with any function of fewer
fields. The three terms are therefore orthogonal, with variance 1 each, and w_1^2 : w_2^2 : w_3^2 are their shares of
the variance of the log-odds.

Pairs and triples are made of the same factors. By triples alone an untrained embedding has a gradient of next to
nothing; what the pairs teach leads to them.

Shape suffixes: R requests, C candidates of a request, N impressions, F fields that are no ids, V values of a field,
K tasks.
"""

from dataclasses import dataclass
from itertools import combinations
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from pinfm.train.data.sources.simulated.items import DAY, START

Reals = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

# Task -> the highest order of its log-odds.
TASKS = {"pairs": 2, "triples": 3}
BIAS = -1.0
NUM_DAYS = 20


@dataclass(frozen=True, kw_only=True)
class WorldConfig:
    """One world.

    Args:
        seed: of everything.
        num_requests: requests, evenly spread over the days.
        num_candidates: items shown in a request, all different.
        num_users: users; an id has an effect and no factor.
        num_items: items, likewise.
        num_request_fields: categorical features that the candidates of a request share.
        num_item_fields: categorical features of a candidate.
        num_values: of each of those features.
        num_pairs: planted pairs of fields.
        num_triples: planted triples of fields.
        weights: w_1, w_2 and w_3.
    """

    seed: int = 0
    num_requests: int = 19_000
    num_candidates: int = 10
    num_users: int = 1000
    num_items: int = 500
    num_request_fields: int = 6
    num_item_fields: int = 4
    num_values: int = 20
    num_pairs: int = 20
    num_triples: int = 40
    weights: tuple[float, float, float] = (0.6, 1.0, 1.5)

    @property
    def num_fields(self) -> int:
        """F."""
        return self.num_request_fields + self.num_item_fields


class Shown(NamedTuple):
    """What was shown, and what came of it: request by request, in the order of time.

    Values count from 0. Those of a user's or an item's fields are drawn anew for each request and each impression:
    otherwise the id would stand for all of them, and what is a pair of fields would be an effect of the id.
    """

    request_N: Ints
    timestamp_N: Ints
    user_N: Ints
    item_N: Ints
    field_NF: Ints  # request fields first
    dense_N2: Reals  # the request's, the candidate's
    log_odds_N3: Reals  # without the bias: up to first order, up to second, all
    click_NK: npt.NDArray[np.bool_]


class World:
    """The planted effects and factors.

    Args:
        config: which world.
    """

    def __init__(self, config: WorldConfig) -> None:
        self.config = config
        rng = np.random.default_rng([config.seed, 0])
        sizes = [config.num_users, config.num_items, *[config.num_values] * config.num_fields]
        self.effects = [_standardised(rng.standard_normal(size)) for size in sizes]
        self.factor_FV = np.stack(
            [_standardised(rng.standard_normal(config.num_values)) for _ in range(config.num_fields)]
        )
        self.pairs = _drawn(rng, config.num_fields, 2, config.num_pairs)
        self.triples = _drawn(rng, config.num_fields, 3, config.num_triples)

    def terms(self, user_N: Ints, item_N: Ints, field_NF: Ints, dense_N2: Reals) -> Reals:
        """First, second and third of impressions, (N, 3); the arguments are those of `Shown`."""
        columns = [user_N, item_N, *field_NF.T]
        effects = [effect_V[value_N] for effect_V, value_N in zip(self.effects, columns, strict=True)]
        first_N = sum([*effects, *dense_N2.T]) / np.sqrt(len(effects) + 2)
        factor_NF = self.factor_FV[np.arange(self.config.num_fields), field_NF]
        return np.stack([first_N, _products(factor_NF, self.pairs), _products(factor_NF, self.triples)], axis=1)

    def show(self) -> Shown:
        """Draws all that is shown, and the clicks."""
        config, rng = self.config, np.random.default_rng([self.config.seed, 1])
        R, C = config.num_requests, config.num_candidates
        request_N = np.repeat(np.arange(R), C)
        user_N = rng.integers(0, config.num_users, R)[request_N]
        item_N = np.concatenate([rng.choice(config.num_items, C, replace=False) for _ in range(R)])
        request_field_RF = rng.integers(0, config.num_values, (R, config.num_request_fields))
        item_field_NF = rng.integers(0, config.num_values, (R * C, config.num_item_fields))
        field_NF = np.concatenate([request_field_RF[request_N], item_field_NF], axis=1)
        dense_N2 = np.stack([rng.standard_normal(R)[request_N], rng.standard_normal(R * C)], axis=1)
        terms_N3 = self.terms(user_N, item_N, field_NF, dense_N2)
        log_odds_N3 = np.cumsum(terms_N3 * np.array(config.weights), axis=1)
        log_odds_NK = BIAS + log_odds_N3[:, [order - 1 for order in TASKS.values()]]
        return Shown(
            request_N=request_N,
            timestamp_N=START + request_N * (NUM_DAYS * DAY) // R,
            user_N=user_N,
            item_N=item_N,
            field_NF=field_NF,
            dense_N2=dense_N2,
            log_odds_N3=log_odds_N3,
            click_NK=rng.random(log_odds_NK.shape) < 1 / (1 + np.exp(-log_odds_NK)),
        )


def _standardised(x_V: Reals) -> Reals:
    centred_V = x_V - x_V.mean()
    return np.asarray(centred_V / centred_V.std())


def _drawn(rng: np.random.Generator, num_fields: int, order: int, count: int) -> Ints:
    """(count, order): different sets of fields."""
    every = np.array(list(combinations(range(num_fields), order)))
    return every[np.sort(rng.choice(len(every), count, replace=False))]


def _products(factor_NF: Reals, sets: Ints) -> Reals:
    """(N,): the sum over sets of fields of the product of their factors, with variance 1."""
    products = [factor_NF[:, fields].prod(axis=1) for fields in sets]
    return np.asarray(sum(products) / np.sqrt(len(sets)))
