"""Runs whose map probes: trained where a map can change, then read, evaluated and exported where it can't."""

from dataclasses import replace

import probing
import pytest
import runs
import torch

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.specs import ManagedIdsConfig
from pinfm.inference.export import export
from pinfm.inference.options import ExportOptions
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.evaluation.evaluate import evaluate
from pinfm.train.phases import Place, finetune, pretrain
from pinfm.train.run_folder import checkpoint

CONFIG = replace(
    runs.CONFIG,
    item_table=replace(runs.CONFIG.item_table, ids="managed", rows=60),
    feature_tables=replace(runs.CONFIG.feature_tables, user_ids="managed", max_rows=30),
    managed_ids=ManagedIdsConfig(
        min_count=2, update_steps=3, eviction="time_to_live", time_to_live_updates=2, map="mpzch"
    ),
)


@pytest.fixture(scope="module")
def trained(root, dataset):
    with pytest.MonkeyPatch.context() as patches:
        probing.train_without_a_gpu(patches)
        pretrain(CONFIG, Place(data=dataset, out=root / "mpzch_pretrained"))
        finetune(CONFIG, Place(data=dataset, out=root / "mpzch_run", pretrained=root / "mpzch_pretrained"))
    return root / "mpzch_run"


def test_ids_come_and_go(trained):
    last = runs.losses(trained).iloc[-1]
    for name in ("item", "user_id"):
        assert 0.5 < last[f"ids/{name}/occupancy"] <= 1
        assert last[f"ids/{name}/admitted"] > last[f"ids/{name}/evicted"] > 0
        assert last[f"ids/{name}/waiting"] > 0
    run = RunFolder.open(trained)
    ids, rows = run.id_map(run.item_table)
    assert (ids[1:] > ids[:-1]).all()
    assert len(rows.unique()) == len(rows) == round(last["ids/item/occupancy"] * 59)


@pytest.mark.parametrize("layout", ["whole", "apart"])
def test_the_exported_model_finds_the_same_rows(trained, tmp_path, layout):
    assert export(trained, tmp_path / "model", ExportOptions(layout=layout))["max_abs_diff"] < 1e-5


def test_a_run_is_evaluated_with_its_map(trained, dataset, monkeypatch):
    known = evaluate(trained, CONFIG, dataset, "test")["metrics"]["model"]["click"]
    monkeypatch.setattr(checkpoint, "_maps", lambda _: {})
    unknown = evaluate(trained, CONFIG, dataset, "test")["metrics"]["model"]["click"]
    assert known["logloss"] != pytest.approx(unknown["logloss"], rel=1e-4)


def test_another_map_is_not_taken_over(trained, root, dataset, tmp_path):
    other = replace(CONFIG, managed_ids=replace(CONFIG.managed_ids, map="sorted"))
    with pytest.raises(UserError, match=r"was pretrained with managed_ids\.map mpzch, not sorted; use the same"):
        finetune(other, Place(data=dataset, out=tmp_path / "run", pretrained=root / "mpzch_pretrained"))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_training_without_a_gpu_is_refused_at_once(dataset, tmp_path):
    with pytest.raises(UserError, match=r"managed_ids\.map mpzch needs a GPU to train"):
        pretrain(CONFIG, Place(data=dataset, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    hashed = replace(CONFIG, item_table=runs.CONFIG.item_table, feature_tables=runs.CONFIG.feature_tables)
    pretrain(hashed, Place(data=dataset, out=tmp_path / "run"))
