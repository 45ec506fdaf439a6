"""The benchmark of rankers on logs that nobody tuned for: its worlds, and a table of what ran."""

import dataclasses

import pytest

from benchmarks import earns_its_keep
from benchmarks.earns_its_keep import HEADINGS, UNSEEN, YOUNG, YOUNG_AUC, key
from benchmarks.parts.quality.ranking_worlds import IN_FOLDERS, WORLDS


def run(**changed):
    return dict.fromkeys([*HEADINGS.values(), YOUNG, YOUNG_AUC, UNSEEN], 0.5) | changed


def test_gains_are_those_of_equal_seeds():
    results = {
        key("hours", "no_tower"): {0: run(AUC=0.5), 1: run(AUC=0.9)},
        key("hours", "fused"): {1: run(AUC=0.91, **{YOUNG: 0.48})},
    }
    lines = earns_its_keep.as_table(results).splitlines()
    assert len(lines) == 4
    assert lines[2].startswith(f"| {WORLDS['hours'].told} | no tower | 0.7000 ± 0.2828 |")
    assert lines[2].endswith("|  | 2 |")
    assert lines[3].endswith("| +0.0100, +0.0000, -0.0200, +0.0000 | 1 |")


def test_a_log_without_young_items_has_an_empty_cell():
    results = {
        key("kuairand", "no_tower"): {0: run(**{YOUNG: None, YOUNG_AUC: None})},
        key("kuairand", "fused"): {0: run(**{YOUNG: None, YOUNG_AUC: None})},
    }
    lines = earns_its_keep.as_table(results).splitlines()
    assert lines[3].endswith("| 0.5000 |  |  | 0.5000 | +0.0000, +0.0000, -, - | 1 |")


def test_young_items_are_the_first_of_the_ages():
    figures = {"auc": 0.7, "ne": 0.9, "request_auc": 0.6, "hit3": 0.5}
    by_age = {"<1d": figures | {"hit3": 0.4}, ">=4d": figures, "unseen": figures | {"hit3": 0.3}}
    told = earns_its_keep.told_of({**figures, "by_age": by_age})
    assert told == {"AUC": 0.7, "NE": 0.9, "request AUC": 0.6, "HIT@3": 0.5, YOUNG: 0.4, YOUNG_AUC: 0.7, UNSEEN: 0.3}


@pytest.mark.parametrize("name", [name for name in WORLDS if name not in (*IN_FOLDERS, "kuairand")])
def test_simulated_worlds_have_the_task_that_is_told(name, tmp_path):
    world = WORLDS[name].source(tmp_path)
    tiny = dataclasses.replace(world, num_users=30, num_items=100, requests_per_user=3.0)
    told = dataclasses.replace(WORLDS[name], source=lambda data: tiny)
    text = (told.prepare(tmp_path, tmp_path / "dataset") / "dataset.json").read_text()
    assert f'"{told.task}"' in text
    assert '"item_click_' in text or "live_counts" in text
