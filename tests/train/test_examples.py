"""The examples run as they stand."""

import runpy
from pathlib import Path

EXAMPLES = Path(__file__).parents[2] / "examples"


def test_the_tower_trains_inside_another_ranker(pretrained, capsys):
    example = runpy.run_path(str(EXAMPLES / "plug_tower.py"))
    example["main"](str(pretrained))
    losses = [float(line.split()[-1]) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 5
    assert losses[-1] < losses[0]


def test_pages_score_as_one_call(pretrained, capsys):
    example = runpy.run_path(str(EXAMPLES / "cache_history.py"))
    example["main"](str(pretrained))
    kept, difference = capsys.readouterr().out.split("; pages differ from one call by at most ")
    assert kept.endswith("KiB kept of 50 events")
    assert float(difference) < 1e-5
