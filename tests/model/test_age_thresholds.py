"""Thresholds of item ages: how they are written, and what the slices between them are called."""

import pytest

from pinfm.embeddings.errors import UserError
from pinfm.model.item_ages import PAPER, PAPER_THRESHOLDS, AgeThresholds, age_thresholds


@pytest.mark.parametrize(
    ("texts", "seconds", "names"),
    [
        (("7d", "28d"), (604_800, 2_419_200), ("<7d", "7-28d", "<28d", ">=28d")),
        (("1h", "4h"), (3600, 14_400), ("<1h", "1-4h", "<4h", ">=4h")),
        (("15min", "1h"), (900, 3600), ("<15min", "15-60min", "<60min", ">=60min")),
        (("6h", "1d"), (21_600, 86_400), ("<6h", "6-24h", "<24h", ">=24h")),
        (("24h", "4d"), (86_400, 345_600), ("<1d", "1-4d", "<4d", ">=4d")),
        (("45s", "60s"), (45, 60), ("<45s", "45-60s", "<60s", ">=60s")),
    ],
)
def test_thresholds_have_one_name_whatever_unit_they_are_written_in(texts, seconds, names):
    thresholds = age_thresholds("ages", texts)
    assert thresholds == AgeThresholds(*seconds)
    assert thresholds.names() == names


def test_the_papers_are_7_and_28_days():
    assert age_thresholds("ages", PAPER) == PAPER_THRESHOLDS == AgeThresholds(7 * 86_400, 28 * 86_400)


@pytest.mark.parametrize(
    "texts", [(), ("1h",), ("1h", "4h", "1d"), ("4h", "1h"), ("60min", "1h"), ("1", "4"), ("0h", "4h"), ("1.5h", "4h")]
)
def test_anything_else_is_one_sentence(texts):
    sentence = r"^ages \(\[.*\]\) must be two ages that ascend, in s, min, h or d; write such as '\[1h, 4h\]'"
    with pytest.raises(UserError, match=sentence):
        age_thresholds("ages", texts)
