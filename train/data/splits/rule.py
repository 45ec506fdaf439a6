"""Which rows are held out, as flags say it."""

from dataclasses import dataclass
from typing import Literal

from pinfm.embeddings.errors import UserError, require_types
from pinfm.model.written import iso_seconds

# DuckDB finds fewer than a million of each user's newest rows, and looks for twice as many.
MOST_LAST = 100_000


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """By time, the splits begin at two moments, in Unix seconds; else each user's newest rows are held out.

    Args:
        validation_start: first second of validation; None puts 80 % of the impressions before it, or 8 of 9 of those
            before a given test_start.
        test_start: first second of test; None puts 90 % of the impressions before it, or halves those from a given
            validation_start on.
        last: so many of each user's newest rows are test, and as many before them validation; None splits by time.
    """

    validation_start: int | None = None
    test_start: int | None = None
    last: int | None = None


@dataclass(frozen=True, kw_only=True)
class SplitFlags:
    """Flags that say what is held out for validation and test.

    Args:
        split_by: `time`: all from a moment on; `leave-one-out`: each user's newest positive event, and newest request
            where there are impressions, is test, and the one before validation; `last`: the newest --split-last.
        split_last: how many of a user's newest are test, and how many before them validation, with --split-by last.
        validation_start: when validation begins: a day, YYYY-MM-DD, or a time, such as 2022-05-05T14:00 or
            2022-05-05T14:00+02:00; of UTC where it names no zone. By default 80 % of the rows lie before it.
        test_start: when test begins, written likewise; by default 90 % of the rows lie before it.
    """

    split_by: Literal["time", "leave-one-out", "last"] = "time"
    split_last: int | None = None
    validation_start: str | None = None
    test_start: str | None = None

    def __post_init__(self) -> None:
        require_types("", self)

    def split_rule(self) -> SplitRule:
        """Returns what the flags say.

        Raises:
            UserError: when a time cannot be read, or two flags do not go together.
        """
        by_time = self.split_by == "time"
        if not by_time and (self.validation_start or self.test_start):
            raise UserError(
                f"split_by is {self.split_by}, which has no start in time; leave out validation_start and test_start, "
                "or split_by"
            )
        if (self.split_last is None) == (self.split_by == "last"):
            raise UserError(
                "split_last and split_by last belong together; give both, as in --split-by last --split-last 3"
            )
        if self.split_last is not None and not 1 <= self.split_last <= MOST_LAST:
            raise UserError(f"split_last ({self.split_last}) must lie between 1 and {MOST_LAST:,}")
        return SplitRule(
            validation_start=_seconds("validation_start", self.validation_start),
            test_start=_seconds("test_start", self.test_start),
            last=None if by_time else self.split_last or 1,
        )


def _seconds(field: str, time: str | None) -> int | None:
    if time is None:
        return None
    seconds = iso_seconds(time)
    if seconds is None:
        raise UserError(
            f"{field} ({time}) is no date or time; write it as 2022-05-05, 2022-05-05T14:00 or 2022-05-05T14:00+02:00"
        )
    return seconds
