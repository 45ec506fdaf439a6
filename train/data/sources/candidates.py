"""Ratings say what was chosen, not what it was chosen from: requests with candidates drawn from what others chose."""

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow

from pinfm.train.data.readers import FILE, POSITION, ROW

IntArray = npt.NDArray[np.int64]
WINDOW_SECONDS = 30 * 86_400


def draw_candidates(connection: duckdb.DuckDBPyConnection, per_rating: int, seed: int = 0) -> None:
    """Creates `ratings_drawn`: a request for each rating, with the item that was rated and items that were not.

    The others are items of ratings of the 30 days before, each rating as likely as the next: what was popular then is
    drawn more often, so that popularity alone does not tell the one that was rated. Items that the user had rated
    before are left out, and so are repeats.

    Args:
        connection: the database, with the table `ratings`.
        per_rating: draws for each rating; fewer candidates remain.
        seed: of the draws.
    """
    rows = connection.sql(
        f"SELECT user_id, item_id, timestamp, rating, {FILE}, {ROW} FROM ratings ORDER BY timestamp, {POSITION}"
    ).to_arrow_table()
    user_N, item_N, time_N = (rows[name].to_numpy().astype(np.int64) for name in ("user_id", "item_id", "timestamp"))
    request_K, item_K = _draw(user_N, item_N, time_N, per_rating, seed)
    request_M = np.concatenate([np.arange(len(user_N)), request_K])
    item_M = np.concatenate([item_N, item_K])
    rated_M = np.arange(len(request_M)) < len(user_N)
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


def _draw(
    user_N: IntArray, item_N: IntArray, time_N: IntArray, per_rating: int, seed: int
) -> tuple[IntArray, IntArray]:
    """(request, item) of the candidates that were not rated; rows are in the order of time."""
    count = len(user_N)
    first_N = np.searchsorted(time_N, time_N - WINDOW_SECONDS)
    width_N = np.arange(count) - first_N
    share = np.random.default_rng(seed).random((count, per_rating))
    places = first_N[:, None] + (share * width_N[:, None]).astype(np.int64)
    request_K = np.repeat(np.arange(count), per_rating)[np.repeat(width_N > 0, per_rating)]
    item_K = item_N[places[width_N > 0].ravel()]
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
