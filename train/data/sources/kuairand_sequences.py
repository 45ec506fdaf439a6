"""Three lists of one user's past, of real order and without times -> one sequence of events."""

from collections.abc import Sequence

import duckdb
import numpy as np
import numpy.typing as npt
import pyarrow

from pinfm.train.data.reading.sql import FILE, POSITION, ROW

Ids = npt.NDArray[np.int64]
Levels = npt.NDArray[np.int8]

_PAD_BASE, _PAD_OTHER = -1, -2  # never equal, so padding never matches


def pad(flat: Ids, lengths_U: Ids, value: int) -> Ids:
    """Packs jagged rows to the left: [a b | c] -> [[a b] [c value]].

    Args:
        flat: the values of all rows.
        lengths_U: values of each row.
        value: what fills the rest.

    Returns:
        int64 (U, longest row).
    """
    width = int(lengths_U.max(initial=0))
    taken_UN = np.arange(width) < lengths_U[:, None]
    padded_UN = np.full((len(lengths_U), width), value, dtype=np.int64)
    padded_UN[taken_UN] = flat
    return padded_UN


def merge(base: tuple[Ids, Levels, Ids], other: tuple[Ids, Ids], level: int) -> tuple[Ids, Levels, Ids]:
    """Merges a list of stronger actions into a sequence; an id that stands in both, in order, is one interaction.

    The alignment is a longest common subsequence, read from the end, so that ties go to the newest occurrence. Ids
    without a partner stay between their neighbours; where both lists have some there, those of `other` are older.

        base   a  b  c  d          other  x  c  d
        merged a  b  x  c* d*      (* takes `level`, if it is the stronger)

    Args:
        base: flat ids, their levels, and the length of each of U users' rows.
        other: flat ids and lengths of the same users.
        level: strength of the other list's action.

    Returns:
        The merged rows, like `base`.
    """
    ids, levels, lengths_U = base
    other_ids, other_lengths_U = other
    base_UN = pad(ids, lengths_U, _PAD_BASE)
    level_UN = pad(levels.astype(np.int64), lengths_U, 0)
    other_UM = pad(other_ids, other_lengths_U, _PAD_OTHER)
    common_NMU = _common_lengths(base_UN, other_UM)
    users = np.arange(len(lengths_U))
    i_U, j_U = lengths_U.copy(), other_lengths_U.copy()
    steps = int((lengths_U + other_lengths_U).max(initial=0))
    merged_US = np.zeros((len(users), steps), dtype=np.int64)
    merged_level_US = np.zeros((len(users), steps), dtype=np.int8)
    taken_U = np.zeros(len(users), dtype=np.int64)
    for step in range(steps):
        has_base_U, has_other_U = i_U > 0, j_U > 0
        active_U = has_base_U | has_other_U
        last_U = base_UN[users, i_U - 1] if base_UN.shape[1] else np.full(len(users), _PAD_BASE)
        last_level_U = level_UN[users, i_U - 1] if base_UN.shape[1] else np.zeros(len(users), dtype=np.int64)
        last_other_U = other_UM[users, j_U - 1] if other_UM.shape[1] else np.full(len(users), _PAD_OTHER)
        match_U = has_base_U & has_other_U & (last_U == last_other_U)
        without_base_U = common_NMU[np.maximum(i_U - 1, 0), j_U, users]
        without_other_U = common_NMU[i_U, np.maximum(j_U - 1, 0), users]
        take_base_U = has_base_U & (match_U | ~has_other_U | (without_base_U >= without_other_U))
        take_other_U = active_U & (match_U | ~take_base_U)
        merged_US[:, step] = np.where(take_base_U, last_U, last_other_U)
        stronger_U = np.where(take_other_U, level, 0)
        merged_level_US[:, step] = np.maximum(np.where(take_base_U, last_level_U, 0), stronger_U)
        i_U -= take_base_U
        j_U -= take_other_U
        taken_U += active_U
    kept_US = (np.arange(steps) < taken_U[:, None])[:, ::-1]
    return merged_US[:, ::-1][kept_US], merged_level_US[:, ::-1][kept_US], taken_U


def _common_lengths(base_UN: Ids, other_UM: Ids) -> npt.NDArray[np.int16]:
    """Length of the longest common subsequence of each pair of prefixes: (N + 1, M + 1, U)."""
    users, n = base_UN.shape
    m = other_UM.shape[1]
    # Users come last, so that each step of the recurrence is one pass over contiguous memory.
    base_NU, other_MU = np.ascontiguousarray(base_UN.T), np.ascontiguousarray(other_UM.T)
    common_NMU = np.zeros((n + 1, m + 1, users), dtype=np.int16)
    for i in range(n):
        match_MU = base_NU[i] == other_MU
        matched_MU = common_NMU[i, :-1] + match_MU
        longest_MU = np.maximum(matched_MU, common_NMU[i, 1:])
        for j in range(m):
            np.maximum(longest_MU[j], common_NMU[i + 1, j], out=common_NMU[i + 1, j + 1])
    return common_NMU


def spread_times(lengths_U: Ids, spans_U: Ids, first: int, last_U: Ids) -> Ids:
    """Gives the events of each user evenly spaced times that end at the last one that is known.

    The events are the newest of `spans_U` interactions since `first`, so the step is (last - first) / span.

    Args:
        lengths_U: events of each user.
        spans_U: interactions of each user between `first` and `last_U`.
        first: Unix seconds; no time is earlier.
        last_U: Unix seconds of each user's last event.

    Returns:
        Unix seconds of all events, flat.
    """
    user_N = np.repeat(np.arange(len(lengths_U)), lengths_U)
    rank_N = np.arange(len(user_N)) - np.repeat(np.cumsum(lengths_U) - lengths_U, lengths_U)
    back_N = lengths_U[user_N] - 1 - rank_N
    step_U = (last_U - first) / np.maximum(np.maximum(spans_U, lengths_U), 1)
    return np.maximum(last_U[user_N] - np.ceil(back_N * step_U[user_N]).astype(np.int64), first)


def merge_sequences(
    connection: duckdb.DuckDBPyConnection, actions: Sequence[str], first_time: int, batch_users: int = 4096
) -> dict[str, int]:
    """Creates `kuairand_past`, the events before the log, of `kuairand_sequences`.

    Args:
        connection: the database.
        actions: weak to strong; `seen`, `long_view` and `like` are among them.
        first_time: Unix seconds where the data begin.
        batch_users: users merged at a time.

    Returns:
        How many ids each list held, and how many events they became.
    """
    connection.execute(
        f"CREATE TABLE kuairand_past (user_id BIGINT, timestamp BIGINT, action VARCHAR, item_id BIGINT, "
        f"{FILE} VARCHAR, {ROW} BIGINT, {POSITION} BIGINT)"
    )
    lists = ("watch_seq", "long_watch_seq", "like_seq")
    filled = ", ".join(f"coalesce({column}, []::BIGINT[]) AS {column}" for column in lists)
    # A cursor of its own, because the loop below writes through the connection.
    query = (
        f"SELECT user_id, history_len, last_time_ms, {filled}, {FILE}, {ROW} "
        f"FROM kuairand_sequences ORDER BY {POSITION}"
    )
    batches = connection.cursor().sql(query).to_arrow_reader(batch_users)
    counts = dict.fromkeys((*lists, "past_events"), 0)
    for batch in batches:
        watched, long, liked = ((_flat(batch, column), _lengths(batch, column)) for column in lists)
        merged = (watched[0], np.full(len(watched[0]), actions.index("seen"), dtype=np.int8), watched[1])
        merged = merge(merged, long, actions.index("long_view"))
        item_N, level_N, lengths_U = merge(merged, liked, actions.index("like"))
        time_N = spread_times(
            lengths_U, batch["history_len"].to_numpy(), first_time, batch["last_time_ms"].to_numpy() // 1000
        )
        user_N = np.repeat(np.arange(len(lengths_U)), lengths_U)
        past = pyarrow.table(
            {
                "user_id": batch["user_id"].take(user_N),
                "timestamp": time_N,
                "action": pyarrow.array(list(actions)).take(pyarrow.array(level_N)),
                "item_id": item_N,
                FILE: batch[FILE].take(user_N),
                ROW: batch[ROW].take(user_N),
                POSITION: counts["past_events"] + np.arange(len(item_N)),
            }
        )
        connection.register("past_batch", past)
        connection.execute("INSERT INTO kuairand_past FROM past_batch")
        connection.unregister("past_batch")
        for column, (ids, _) in zip(lists, (watched, long, liked), strict=True):
            counts[column] += len(ids)
        counts["past_events"] += len(item_N)
    return counts


def _flat(batch: pyarrow.RecordBatch, column: str) -> npt.NDArray[np.int64]:
    """Returns the values of a list column, one row after the other."""
    values: npt.NDArray[np.int64] = batch[column].flatten().to_numpy(zero_copy_only=False)
    return values


def _lengths(batch: pyarrow.RecordBatch, column: str) -> npt.NDArray[np.int64]:
    """Returns the number of values in each row of a list column."""
    counted: npt.NDArray[np.int64] = batch[column].value_lengths().to_numpy(zero_copy_only=False).astype(np.int64)
    return counted
