"""The benchmark of pretraining: rows and their budgets, the log with a new surface, runs in one process, the table."""

import pyarrow.compute as pc
import pytest

from benchmarks import pretraining
from benchmarks.parts.quality.few_labels import DAYS_OF_LABELS, NEW_SURFACE, late_surface
from benchmarks.parts.quality.runs import Command, Runs
from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.sources.simulated.items import DAY


@pytest.mark.parametrize("name", pretraining.DATASETS)
def test_rows_of_equal_labels_have_one_budget(name):
    rows = pretraining.rows_of(pretraining.DATASETS[name])
    assert len({row.name for row in rows}) == len(rows) == len(pretraining.KINDS) * len(pretraining.LABELS)
    assert {row.pretrained for row in rows} - {None} == pretraining.flags_of(pretraining.DATASETS[name]).keys()
    for labels in pretraining.LABELS:
        own = {kind.name: set(kind.flags) for kind in pretraining.KINDS}
        of_group = [row for row in rows if row.group == labels]
        assert len({tuple(w for w in r.flags if w not in own[r.name.rpartition("_")[0]]) for r in of_group}) == 1


def test_labels_of_a_new_surface_are_few_and_its_events_late(tmp_path):
    data = PreparedDataset.open(
        late_surface(Simulate(num_users=60, num_items=50, requests_per_user=20), tmp_path / "d")
    )
    assert not (tmp_path / "d_tables").exists()
    assert late_surface(Simulate(num_users=61), data.path) == data.path  # made once
    schema, (_, end) = data.info.schema, data.info.splits["train"]
    code = schema.surfaces.index(NEW_SURFACE) + 1
    shown = [data.requests("train", bucket) for bucket in range(data.info.num_buckets)]
    assert sum(map(len, shown)) > 10
    for requests in shown:
        assert pc.all(pc.equal(requests["surface"], code)).as_py() in (True, None)
        assert pc.all(pc.greater_equal(requests["timestamp"], end - DAYS_OF_LABELS * DAY)).as_py() in (True, None)
    late = others = 0
    for events in map(data.events, range(data.info.num_buckets)):
        on_surface = events.filter(pc.equal(events["surface"], code))
        late, others = late + len(on_surface), others + len(events) - len(on_surface)
        assert pc.all(pc.greater_equal(on_surface["timestamp"], end - DAYS_OF_LABELS * DAY)).as_py() in (True, None)
    assert 10 < late < others


def test_a_verb_that_fails_in_this_process_stops_the_benchmark(tmp_path):
    runs = Runs(tmp_path, in_process=True)
    with pytest.raises(UserError, match=r"^a ended with status 2; what it said stands above\.$"):
        runs.train("a", Command("pretrain", "kuairand", ("--data", tmp_path / "nowhere")))
    assert not (runs.folder("a") / "finished").exists()


def test_the_table_has_a_line_a_row_that_was_trained():
    figures = {"click": {"auc": 0.7, "request_auc": 0.6, "ne": 0.9}}
    table = pretraining.as_tables({"scratch_5": {0: figures}, "next_action_path_5": {0: figures, 1: figures}})
    assert "| 5 %: tower from scratch | 0.7000 | 0.6000 | 0.9000 |" in table
    assert "| 5 %: pretrained with next actions, tower path | 0.7000 ± 0.0000 |" in table
