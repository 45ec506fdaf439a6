"""What `prepare --live-counts` is asked for -> what is counted."""

from collections.abc import Sequence

from pinfm.embeddings.errors import UserError
from pinfm.model.live_counts import IMPRESSION, ITEM, LABEL, USER, LiveCountsSpec
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.tables import RawTables


def live_counts_spec(options: PrepareOptions, tables: RawTables) -> LiveCountsSpec | None:
    """The counters that the flags ask for; None where they ask for none.

    Of a task that is an action too, the events are counted: they know when it happened, where a label only says that it
    did. Candidates that we drew were never shown, so neither impressions nor labels of them are counted.

    Raises:
        UserError: the log can't have such counters, or a flag names what is not there.
    """
    if not options.live_counts:
        return None
    if tables.impressions is None:
        raise UserError("--live-counts counts for requests, and this log has no impressions; leave it out")
    if not tables.has_times:
        raise UserError("--live-counts needs times, and the log has an order alone; leave it out")
    for key in options.live_counts:
        if key != ITEM and key.removeprefix(USER) not in tables.item_attributes:
            known = ", ".join((ITEM, *tables.item_attributes, *(f"{USER}{name}" for name in tables.item_attributes)))
            raise UserError(f"--live-counts names {key!r}, which is none of {known}")
    _require_known(options.live_counts_kinds, tables)
    return LiveCountsSpec(
        of=tuple(options.live_counts),
        kinds=tuple(options.live_counts_kinds) or _all_kinds(tables),
        windows=tuple(options.live_counts_windows),
        label_delay_seconds=round(60 * options.live_counts_label_delay_minutes),
    )


def _all_kinds(tables: RawTables) -> tuple[str, ...]:
    labels = tuple(LABEL + task for task in tables.tasks if task not in tables.actions)
    return (IMPRESSION, *tables.actions, *labels) if tables.were_shown else tables.actions


def _require_known(kinds: Sequence[str], tables: RawTables) -> None:
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
