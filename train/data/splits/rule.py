"""Which rows are held out, as flags say it."""

from dataclasses import dataclass

from pinfm.embeddings.errors import UserError
from pinfm.model.written import iso_seconds


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """Where the splits begin, in Unix seconds.

    Args:
        validation_start: first second of validation; None puts 80 % of the impressions before it, or 8 of 9 of those
            before a given test_start.
        test_start: first second of test; None puts 90 % of the impressions before it, or halves those from a given
            validation_start on.
    """

    validation_start: int | None = None
    test_start: int | None = None


@dataclass(frozen=True, kw_only=True)
class SplitFlags:
    """Flags that say where validation and test begin.

    Args:
        validation_start: when validation begins: a day, YYYY-MM-DD, or a time, such as 2022-05-05T14:00 or
            2022-05-05T14:00+02:00; of UTC where it names no zone. By default 80 % of the rows lie before it.
        test_start: when test begins, written likewise; by default 90 % of the rows lie before it.
    """

    validation_start: str | None = None
    test_start: str | None = None

    def split_rule(self) -> SplitRule:
        """Returns what the flags say.

        Raises:
            UserError: when a time cannot be read.
        """
        return SplitRule(
            validation_start=_seconds("validation_start", self.validation_start),
            test_start=_seconds("test_start", self.test_start),
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
