"""Which checkpoint of a run makes which line of the table."""

import pytest

from benchmarks.movielens import TOLD, as_table, chosen, row_of, told_or_not
from benchmarks.parts.quality.movielens_rows import PUBLISHED, ROWS


class Evaluated:
    """Three checkpoints; the second is the best without the target's time, the third with it."""

    checkpoints = ("step-00000005", "step-00000010", "step-00000015")

    def __init__(self):
        self.asked = set()

    def of(self, checkpoint, split, told):
        self.asked.add((checkpoint, split))
        number = self.checkpoints.index(checkpoint)
        plain, with_time = ((0.1, 0.5), (0.3, 0.2), (0.2, 0.4))[number], ((0.2, 0.6), (0.4, 0.3), (0.5, 0.1))[number]
        ndcg = (with_time if told else plain)[split == "test"]
        return {"hr@10": ndcg / 2, "ndcg@10": ndcg}


@pytest.mark.parametrize(
    ("told", "with_validation", "step", "test"),
    [("", False, 10, 0.2), (TOLD, False, 15, 0.1), ("", True, 15, 0.4)],
)
def test_validation_chooses_unless_it_was_trained_on(told, with_validation, step, test):
    figures = Evaluated()
    got = chosen(figures, told, with_validation)
    assert (got["checkpoint"], got["test"]["ndcg@10"]) == (f"step-{step:08d}", test)
    assert list(got["curve"]) == ([] if with_validation else ["00000005", "00000010", "00000015"])
    assert ("validation" in got) != with_validation
    assert [name for name, split in figures.asked if split == "test"] == [got["checkpoint"]]


def test_a_tower_that_can_be_told_makes_two_lines():
    assert list(told_or_not(ROWS["base"])) == ["base", f"base{TOLD}"]
    assert list(told_or_not(ROWS["no_request_time"])) == ["no_request_time"]
    assert row_of(f"base{TOLD}") is ROWS["base"]


def test_what_was_trained_on_is_no_figure():
    row = "with_validation"
    line = as_table({row: {0: chosen(Evaluated(), "", ROWS[row].trains_on_validation)}}).split("\n")[-1]
    assert line.startswith("| with_validation | 0.2000 | 0.4000 |  |  | 1 |")


def test_the_table_holds_the_published_rows_and_ours():
    results = {name: {0: chosen(Evaluated(), told, False)} for name, told in told_or_not(ROWS["base"]).items()}
    lines = as_table(results).split("\n")
    assert len(lines) == 2 + len(PUBLISHED) + 2
    assert lines[-2] == "| base | 0.1000 | 0.2000 | 0.1500 | 0.3000 | 1 | the recipe ml1m |"
    assert lines[-1].startswith(f"| base{TOLD} | 0.0500 | 0.1000 |")
    assert lines[-1].endswith("the recipe ml1m; told the target's time |")
