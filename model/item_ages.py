"""Young, middle-aged and old items: two thresholds, for item-age dropout and for the slices of a report.

On a news site an item is old after hours, in a film catalogue it is young for weeks. So the thresholds belong to a
dataset, which `pinfm prepare` reads them off; the paper's (PinFM, arXiv 2507.12704) are 7 and 28 days.
"""

from collections.abc import Sequence
from typing import NamedTuple

from pinfm.embeddings.errors import UserError
from pinfm.model.written import UNIT_SECONDS, length_seconds

SECONDS_PER_DAY = UNIT_SECONDS["d"]


class AgeThresholds(NamedTuple):
    """What tells items apart by their age when they are shown.

    Args:
        young: seconds; an item below it is young, and one with a negative age (a coarse clock) is too.
        old: seconds; an item from it on is old.
    """

    young: int
    old: int

    def names(self) -> tuple[str, str, str, str]:
        """What the young, the middle-aged, both of them, and the old are called, in the largest unit that fits both.

        Example:
            >>> AgeThresholds(3600, 4 * 3600).names()
            ('<1h', '1-4h', '<4h', '>=4h')
        """
        unit = next(
            unit for unit, seconds in UNIT_SECONDS.items() if not self.young % seconds and not self.old % seconds
        )
        young, old = (seconds // UNIT_SECONDS[unit] for seconds in self)
        return f"<{young}{unit}", f"{young}-{old}{unit}", f"<{old}{unit}", f">={old}{unit}"


# As settings and `dataset.json` hold them.
PAPER = ("7d", "28d")
PAPER_THRESHOLDS = AgeThresholds(7 * SECONDS_PER_DAY, 28 * SECONDS_PER_DAY)


def age_thresholds(setting: str, texts: Sequence[str]) -> AgeThresholds:
    """Thresholds from their texts.

    Args:
        setting: its name, for the message.
        texts: two whole numbers of seconds, minutes, hours or days that ascend, such as `1h` and `4h`.

    Raises:
        UserError: they are something else.
    """
    seconds = [length for length in map(length_seconds, texts) if length is not None]
    if len(texts) != 2 or len(seconds) != 2 or seconds[0] >= seconds[1]:
        raise UserError(
            f"{setting} ([{', '.join(texts)}]) must be two ages that ascend, in s, min, h or d; write such as "
            "'[1h, 4h]', below the first of which an item is young, and old from the second on."
        )
    return AgeThresholds(*seconds)
