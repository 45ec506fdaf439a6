"""What `prepare --live-counts` is asked for -> what is counted."""

import dataclasses
from collections.abc import Sequence

import duckdb

from pinfm.embeddings.errors import UserError
from pinfm.model.live_counts import ALL, IMPRESSION, ITEM, LABEL, USER, LiveCountsSpec, window_seconds
from pinfm.train.data.live.marks import overall_rates
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.reading.sql import name, quoted
from pinfm.train.data.splits.marked import SPLIT, Splits
from pinfm.train.data.tables import RawTables

# A log whose events hold fewer of what the labels tell keeps one action of several, or counts clicks elsewhere.
_TOLD_BY_EVENTS = 0.9
# Lengths that a default is made of; a month or more of training gives the last four.
_LADDER = ("15min", "1h", "6h", "1d", "7d")
_MOST_WINDOWS = 4


def require_countable(options: PrepareOptions, tables: RawTables) -> None:
    """Looks at what the flags of --live-counts ask for, before anything is read.

    Raises:
        UserError: the log can't have such counters, or a flag names what is not there.
    """
    if not options.live_counts:
        return
    if not tables.has_requests:
        raise UserError(
            "--live-counts counts for requests, and this log has no impressions; leave it out, or give "
            "--sampled-candidates"
        )
    if not tables.has_times:
        raise UserError("--live-counts needs times, and the log has an order alone; leave it out")
    for key in options.live_counts:
        if key != ITEM and key.removeprefix(USER) not in tables.item_attributes:
            known = ", ".join((ITEM, *tables.item_attributes, *(f"{USER}{name}" for name in tables.item_attributes)))
            raise UserError(f"--live-counts names {key!r}, which is none of {known}")
    _require_kinds(options.live_counts_kinds, tables)
    _require_free_names(options, tables)


def _require_free_names(options: PrepareOptions, tables: RawTables) -> None:
    """Counters are features beside those of the log; which labels and windows a default has is not known yet."""
    kinds, windows = options.live_counts_kinds or (IMPRESSION, *tables.actions), options.live_counts_windows
    counters = _spec(options, kinds, windows or (*_LADDER, ALL)).names()
    for feature in (*(feature.name for feature in tables.features), *tables.item_attributes):
        if feature in counters:
            raise UserError(f"the feature {feature!r} has the name of one of the counters of --live-counts; rename it")


def _require_kinds(kinds: Sequence[str], tables: RawTables) -> None:
    for action in tables.actions:
        if action == IMPRESSION or action.startswith(LABEL):
            raise UserError(f"the action {action!r} has a name that --live-counts uses itself; rename it in the log")
    shown = (IMPRESSION, *(LABEL + task for task in tables.tasks))
    for kind in kinds:
        if kind in shown and not tables.were_shown:
            raise UserError(f"--live-counts-kinds names {kind!r}, but these candidates are drawn and were never shown")
        if kind not in (*shown, *tables.actions):
            known = ", ".join((*shown, *tables.actions))
            raise UserError(f"--live-counts-kinds names {kind!r}, which is none of {known}")


def live_counts_spec(
    connection: duckdb.DuckDBPyConnection, options: PrepareOptions, tables: RawTables, splits: Splits
) -> LiveCountsSpec:
    """The counters that the flags ask for.

    Args:
        connection: the database with `split_events` and `split_impressions`.
        options: the flags, with some of `--live-counts`.
        tables: what the source said of the log.
        splits: what was held out; that decides nothing.
    """
    kinds = tuple(options.live_counts_kinds) or _default_kinds(connection, tables)
    spec = _spec(options, kinds, options.live_counts_windows or _default_windows(connection))
    return dataclasses.replace(spec, rates=overall_rates(connection, spec, splits))


def _default_windows(connection: duckdb.DuckDBPyConnection) -> tuple[str, ...]:
    """The windows that the training split can tell apart, and `all`.

    A window that holds all that has happened so far only grows, from training to test: a ranker that learnt what ten
    clicks mean is misled by a hundred.
    """
    row = connection.execute(
        f"SELECT max(timestamp) - min(timestamp) FROM split_impressions WHERE {SPLIT} = 0"
    ).fetchone()
    assert row is not None
    fitting = [window for window in _LADDER if 4 * window_seconds(window) <= (row[0] or 0)]
    return (*(fitting[-_MOST_WINDOWS:] or _LADDER[:1]), ALL)


def _spec(options: PrepareOptions, kinds: Sequence[str], windows: Sequence[str]) -> LiveCountsSpec:
    return LiveCountsSpec(
        of=tuple(options.live_counts),
        kinds=tuple(kinds),
        windows=tuple(windows),
        label_delay_seconds=round(60 * options.live_counts_label_delay_minutes),
    )


def _default_kinds(connection: duckdb.DuckDBPyConnection, tables: RawTables) -> tuple[str, ...]:
    """Impressions, every action, and the labels of tasks that the events do not tell.

    Events are better: they know when it happened, where a label only says that it did. Candidates that we drew were
    never shown, so there is nothing of them to count.
    """
    if not tables.were_shown:
        return tables.actions
    untold = (task for task in tables.tasks if not _is_told(connection, task, tables.actions))
    return (IMPRESSION, *tables.actions, *(LABEL + task for task in untold))


def _is_told(connection: duckdb.DuckDBPyConnection, task: str, actions: Sequence[str]) -> bool:
    if task not in actions:
        return False
    counted = connection.execute(
        f"SELECT (SELECT count(*) FROM split_events WHERE action = {quoted(task)} AND {SPLIT} = 0), "
        f"(SELECT count(*) FROM split_impressions WHERE {name(task)} AND {SPLIT} = 0)"
    ).fetchone()
    assert counted is not None
    events, labels = counted
    return bool(events >= _TOLD_BY_EVENTS * labels)
