"""What `prepare --live-counts` is asked for -> what is counted."""

from collections.abc import Sequence

from pinfm.embeddings.errors import UserError
from pinfm.model.live_counts import IMPRESSION, ITEM, LABEL, USER, LiveCountsSpec
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.tables import RawTables


def live_counts_spec(options: PrepareOptions, tables: RawTables) -> LiveCountsSpec | None:
    """The counters that the flags ask for; None where they ask for none.

    Counted are the impressions, where they were shown to somebody, every action of the events, and the labels of
    those tasks that are no actions: of the others the events know better when they happened.

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
    return LiveCountsSpec(
        of=tuple(options.live_counts),
        kinds=_kinds(options.live_counts_labels, tables),
        windows=tuple(options.live_counts_windows),
        label_delay_seconds=round(60 * options.live_counts_label_delay_minutes),
    )


def _kinds(labels: Sequence[str], tables: RawTables) -> tuple[str, ...]:
    for action in tables.actions:
        if action == IMPRESSION or action.startswith(LABEL):
            raise UserError(f"the action {action!r} has a name that --live-counts uses itself; rename it in the log")
    for task in labels:
        if task not in tables.tasks:
            raise UserError(f"--live-counts-labels names {task!r}, which is none of the tasks {', '.join(tables.tasks)}")
    if tables.candidates == "sampled":
        if labels:
            raise UserError("--live-counts-labels counts what was shown, and these candidates are drawn; leave it out")
        return tables.actions
    tasks = labels or [task for task in tables.tasks if task not in tables.actions]
    return (IMPRESSION, *tables.actions, *(LABEL + task for task in tasks))
