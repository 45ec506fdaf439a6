"""Which checkpoint of a run makes which line of the table."""

import pytest

from benchmarks.movielens import TOLD, as_table, chosen, row_of, told_or_not
from benchmarks.movielens_rows import PUBLISHED, ROWS


def figures(validation, test):
    return {"hr@10": validation / 2, "ndcg@10": validation}, {"hr@10": test / 2, "ndcg@10": test}


def evaluations():
    """Three checkpoints; the second is the best without the target's time, the third with it."""
    found = {}
    for step, plain, told in ((5, (0.1, 0.5), (0.2, 0.6)), (10, (0.3, 0.2), (0.4, 0.3)), (15, (0.2, 0.4), (0.5, 0.1))):
        names = ("validation", "test", f"validation{TOLD}", f"test{TOLD}")
        found[f"step-{step:08d}"] = dict(zip(names, (*figures(*plain), *figures(*told)), strict=True))
    return found


@pytest.mark.parametrize(
    ("told", "with_validation", "step", "test"),
    [("", False, 10, 0.2), (TOLD, False, 15, 0.1), ("", True, 15, 0.4)],
)
def test_validation_chooses_unless_it_was_trained_on(told, with_validation, step, test):
    got = chosen(evaluations(), told, with_validation)
    assert (got["checkpoint"], got["test"]["ndcg@10"]) == (f"step-{step:08d}", test)
    assert list(got["curve"]) == ["00000005", "00000010", "00000015"]


def test_a_tower_that_can_be_told_makes_two_lines():
    assert list(told_or_not(ROWS["base"])) == ["base", f"base{TOLD}"]
    assert list(told_or_not(ROWS["no_request_time"])) == ["no_request_time"]
    assert row_of(f"base{TOLD}") is ROWS["base"]


def test_the_table_holds_the_published_rows_and_ours():
    results = {name: {0: chosen(evaluations(), told, False)} for name, told in told_or_not(ROWS["base"]).items()}
    lines = as_table(results).split("\n")
    assert len(lines) == 2 + len(PUBLISHED) + 2
    assert lines[-2] == "| base | 0.1000 | 0.2000 | 0.1500 | 0.3000 | 1 | the recipe ml1m |"
    assert lines[-1].startswith(f"| base{TOLD} | 0.0500 | 0.1000 |")
    assert lines[-1].endswith("the recipe ml1m; told the target's time |")
