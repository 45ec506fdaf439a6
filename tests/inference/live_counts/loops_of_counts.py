"""Live counts as a plain loop over all marks."""

from pinfm.inference.live_counts.inputs import columns_of
from pinfm.model.live_counts import ALL, ITEM, LABEL, LARGEST_COUNT, first_second


def plain_counts(spec, marks, clock, candidate):
    """The counters of a candidate as of a clock.

    Args:
        spec: what is counted.
        marks: dictionaries with the columns of marks.
        clock: seconds; a mark of this second is not counted.
        candidate: a dictionary with what keys are made of.
    """
    return {
        name: float(min(count, LARGEST_COUNT))
        for name, count in zip(spec.names(), _counts(spec, marks, clock, candidate), strict=True)
    }


def _counts(spec, marks, clock, candidate):
    for key in spec.of:
        columns = columns_of(key)
        missing = key != ITEM and candidate[columns[-1]] == 0
        for window in spec.windows:
            first = -1 if window == ALL else first_second(clock, window)
            for kind in spec.kinds:
                delay = spec.label_delay_seconds if kind.startswith(LABEL) else 0
                yield (
                    0
                    if missing
                    else sum(
                        mark["kind"] == kind
                        and first <= mark["timestamp"] + delay < clock
                        and all(mark[column] == candidate[column] for column in columns)
                        for mark in marks
                    )
                )
