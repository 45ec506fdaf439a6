"""Ratings say what was chosen, not what it was chosen from: requests with candidates drawn from what others chose."""

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow

from pinfm.train.data.reading.sql import FILE, POSITION, ROW

IntArray = npt.NDArray[np.int64]
WINDOW_SECONDS = 30 * 86_400


def draw_candidates(connection: duckdb.DuckDBPyConnection, per_rating: int, seed: int = 0) -> int:
    """Creates `ratings_drawn`: a request for each rating, with the item that was rated and items that were not.

    The others are items of ratings of the 30 days before, each rating as likely as the next: what was popular then is
    drawn more often, so that popularity alone does not tell the one that was rated. Items that the user had rated
    before are left out, and so are repeats. A rating of an item that could not have been drawn, because nobody rated
    it in those days, makes no request: that an item has no past would tell that it is the one.

    Args:
        connection: the database, with the table `ratings`.
        per_rating: draws for each rating; fewer candidates remain.
        seed: of the draws.

    Returns:
        The number of ratings that make no request.
    """
    rows = connection.sql(
        f"SELECT user_id, item_id, timestamp, rating, {FILE}, {ROW} FROM ratings ORDER BY timestamp, {POSITION}"
    ).to_arrow_table()
    user_N, item_N, time_N = (rows[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id", "timestamp"))
    first_N = np.searchsorted(time_N, time_N - WINDOW_SECONDS)
    request_R = np.flatnonzero(_before(item_N) >= first_N)
    request_K, item_K = _draw(user_N, item_N, first_N, request_R, per_rating, seed)
    request_M = np.concatenate([request_R, request_K])
    item_M = np.concatenate([item_N[request_R], item_K])
    rated_M = np.arange(len(request_M)) < len(request_R)
    # By item id within a request: the place of a candidate says nothing.
    order = np.lexsort((item_M, request_M))
    drawn = rows.take(request_M[order])
    drawn = drawn.set_column(drawn.schema.get_field_index("item_id"), "item_id", pyarrow.array(item_M[order]))
    for name, values in (
        ("request_id", request_M[order]),
        ("rated", rated_M[order]),
        (POSITION, np.arange(len(order))),
    ):
        drawn = drawn.append_column(name, pyarrow.array(values))
    connection.register("drawn", drawn)
    connection.execute("CREATE TABLE ratings_drawn AS SELECT * FROM drawn")
    connection.unregister("drawn")
    return len(user_N) - len(request_R)


def _before(item_N: IntArray) -> IntArray:
    """Where each row's item stood last before it; -1 for its first row."""
    before_N = np.full(len(item_N), -1)
    by_item = np.argsort(item_N, kind="stable")
    again = item_N[by_item[1:]] == item_N[by_item[:-1]]
    before_N[by_item[1:][again]] = by_item[:-1][again]
    return before_N


def _draw(
    user_N: IntArray, item_N: IntArray, first_N: IntArray, request_R: IntArray, per_rating: int, seed: int
) -> tuple[IntArray, IntArray]:
    """(request, item) of the candidates that were not rated.

    Args:
        user_N: of all ratings, in the order of time.
        item_N: of all ratings.
        first_N: the first rating that each may draw from; it draws from those up to itself.
        request_R: the ratings that are requests.
        per_rating: draws for each.
        seed: of the draws.
    """
    count = len(user_N)
    width_R = request_R - first_N[request_R]
    share = np.random.default_rng(seed).random((len(request_R), per_rating))
    places = first_N[request_R, None] + (share * width_R[:, None]).astype(np.int64)
    request_K = np.repeat(request_R, per_rating)
    item_K = item_N[places.ravel()]
    items, place_K = np.unique(np.concatenate([item_N, item_K]), return_inverse=True)
    own_N, place_K = place_K[:count], place_K[count:]
    request_K, place_K = np.unique(np.stack([request_K, place_K]), axis=1)
    # When each user first rated each item, to leave out what was known at the time of the request.
    user_place_N = np.unique(user_N, return_inverse=True)[1]
    pair_N = user_place_N * len(items) + own_N
    pairs, first_rated = np.unique(pair_N, return_index=True)
    pair_K = user_place_N[request_K] * len(items) + place_K
    found_K = np.searchsorted(pairs, pair_K).clip(max=len(pairs) - 1)
    known_K = (pairs[found_K] == pair_K) & (first_rated[found_K] <= request_K)
    return request_K[~known_K], items[place_K[~known_K]]
