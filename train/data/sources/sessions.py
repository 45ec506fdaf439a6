"""Impressions -> requests: one user, no long pause, no item twice."""

from collections.abc import Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow

from pinfm.train.data.reading.sql import POSITION, name


def split_at_repeats(session_N: npt.NDArray[np.int64], item_N: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Numbers the requests of a log: a new session starts one, and so does an item that the request already holds.

    Args:
        session_N: session of each row; equal sessions stand together.
        item_N: item of each row, in the order of time.

    Returns:
        Request number of each row, ascending from 0.

    Example:
        >>> split_at_repeats(np.array([1, 1, 1, 1, 2]), np.array([7, 8, 7, 8, 8])).tolist()
        [0, 0, 1, 1, 2]
    """
    count = len(session_N)
    order = np.lexsort((np.arange(count), item_N, session_N))
    same = (session_N[order][1:] == session_N[order][:-1]) & (item_N[order][1:] == item_N[order][:-1])
    earlier_N = np.full(count, -1)
    earlier_N[order[1:][same]] = order[:-1][same]
    starts_N = np.ones(count, dtype=bool)
    starts_N[1:] = session_N[1:] != session_N[:-1]
    start = -1
    # Only repeats can open a request inside a session, and they are few: this loop does not see the other rows.
    # `start` need not be reset at a new session: an earlier occurrence never lies before its session.
    for row in np.flatnonzero(earlier_N >= 0).tolist():
        if earlier_N[row] >= start:
            starts_N[row] = True
            start = row
    return np.cumsum(starts_N) - 1


def number_requests(
    connection: duckdb.DuckDBPyConnection, log: str, gap_seconds: int, boundaries: Sequence[int] = ()
) -> None:
    """Creates `<log>_requests`: the rows of `log` with `request_id` and `started_at`, ordered as the requests are.

    A request is a run of one user's rows with less than `gap_seconds` between neighbours, that crosses none of
    the boundaries and holds no item twice.

    Args:
        connection: the database.
        log: a table with user_id, item_id, timestamp and `__position`.
        gap_seconds: a pause this long starts a new request.
        boundaries: Unix seconds at which a new request starts too, so that no split shares one.
    """
    parts = " + ".join(["0", *(f"(timestamp >= {boundary})::INTEGER" for boundary in boundaries)])
    ordered = connection.execute(
        f"SELECT {POSITION}, item_id, sum(opens) OVER (ORDER BY user_id, timestamp, {POSITION}) AS session FROM ("
        f"SELECT *, (lag(timestamp) OVER w IS NULL OR timestamp - lag(timestamp) OVER w >= {gap_seconds} "
        f"OR part <> lag(part) OVER w)::INTEGER AS opens FROM (SELECT *, {parts} AS part FROM {name(log)}) "
        f"WINDOW w AS (PARTITION BY user_id ORDER BY timestamp, {POSITION})"
        f") ORDER BY user_id, timestamp, {POSITION}"
    ).fetchnumpy()
    session_N, item_N = (np.asarray(ordered[column], dtype=np.int64) for column in ("session", "item_id"))
    request_N = split_at_repeats(session_N, item_N)
    numbered = pyarrow.table({"position": ordered[POSITION], "request_id": request_N})
    connection.register("numbered", numbered)
    connection.execute(
        f"CREATE TABLE {name(log + '_requests')} AS SELECT *, min(timestamp) OVER (PARTITION BY request_id) "
        f"AS started_at FROM {name(log)} JOIN numbered ON {POSITION} = numbered.position"
    )
    connection.unregister("numbered")
