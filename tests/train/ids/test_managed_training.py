"""Training with managed ids: fresh rows are fresh, the map travels with the model, and serving finds the same rows."""

import json
from dataclasses import replace
from unittest.mock import Mock

import numpy as np
import pandas as pd
import pytest
import runs
import torch

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.id_map import probed_map
from pinfm.embeddings.id_map.probed_map import require_gpu
from pinfm.embeddings.one_device.lookup import init_range
from pinfm.embeddings.sharded.init import uniform_rows
from pinfm.embeddings.specs import ManagedIdsConfig
from pinfm.inference import load
from pinfm.inference.export import export
from pinfm.inference.options import ExportOptions
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.stored.weights import read_id_map
from pinfm.model.tower import SequenceTower
from pinfm.train.build import build_finetune, build_optimizer, finetune_tables, shard
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.evaluate import evaluate
from pinfm.train.ids.maps import NONE_FRESH, Ids
from pinfm.train.ids.reset import RowReset
from pinfm.train.ids.starts import ItemStarts
from pinfm.train.ids.step_by_step import StepByStep
from pinfm.train.loader.feeds import request_feed, segment_feed
from pinfm.train.phases import finetune, item_starts, pretrain
from pinfm.train.run_folder import checkpoint
from pinfm.train.run_folder.place import Place

pytestmark = pytest.mark.usefixtures("mpzch_kernel")

CPU = torch.device("cpu")
# Fewer rows than items and users, so that rows change hands.
CONFIG = replace(
    runs.CONFIG,
    item_table=replace(runs.CONFIG.item_table, ids="managed", rows=60),
    feature_tables=replace(runs.CONFIG.feature_tables, user_ids="managed", max_rows=30),
    # No divisor of the steps between checkpoints, so that they hold sightings that the map has not seen.
    managed_ids=ManagedIdsConfig(min_count=2, update_steps=3, eviction="lru"),
)


@pytest.fixture(scope="module", params=["sorted", "mpzch"])
def config(request):
    return replace(CONFIG, managed_ids=replace(CONFIG.managed_ids, map=request.param))


@pytest.fixture(scope="module")
def managed_pretrained(root, dataset, config):
    out = root / f"managed_pretrained_{config.managed_ids.map}"
    pretrain(config, Place(data=dataset, out=out))
    return out


@pytest.fixture(scope="module")
def managed_finetuned(root, dataset, config, managed_pretrained):
    out = root / f"managed_finetuned_{config.managed_ids.map}"
    finetune(config, Place(data=dataset, out=out, pretrained=managed_pretrained))
    return out


def test_the_log_tells_of_the_maps(managed_finetuned):
    lines = [json.loads(line) for line in (managed_finetuned / "metrics.jsonl").read_text().splitlines()]
    for name in ("item", "user_id"):
        last = {key.split("/")[2]: value for key, value in lines[-1].items() if key.startswith(f"ids/{name}/")}
        assert 0.5 < last["occupancy"] <= 1
        assert 0 < np.mean([line[f"ids/{name}/hit_rate"] for line in lines]) < 1
        assert last["admitted"] > last["evicted"] > 0
        assert last["waiting"] > 0


def shards_of(model):
    """Every weight and Adagrad sum of the item tables and of the users' tables."""
    state = {name: value for name, value in model.state_dict().items() if ".item_" in name or ".user_id_" in name}
    sums = {
        f"{name} {part}": v for name, p in model.fused_optimizer.state_dict()["state"].items() for part, v in p.items()
    }
    return {name: value.local_shards()[0].tensor for name, value in {**state, **sums}.items()}


def trained_with(config, dataset):
    """A model, its maps and the items' table after four steps of fine-tuning."""
    data = PreparedDataset.open(dataset)
    tables = finetune_tables(config, data.info.schema, data.info.counts.users)
    ids = Ids(tables.item, tables.features, config.managed_ids)
    rates = config.finetune.optimizer
    model = shard(build_finetune(config, data.info.schema, tables, CPU), config, rates, {}, CPU)
    build_optimizer(model, rates)
    for batch in request_feed(config, data, ids, "train", training=True).batches(0, 4):
        model(batch)[0].backward()
    return model, ids, tables.item


@pytest.fixture
def trained(group, dataset):
    return trained_with(CONFIG, dataset)


KEY = "item_tables.embeddings.item_1.weight"


@pytest.mark.parametrize("optimizer", ["rowwise_adagrad", "adagrad"])
def test_a_row_that_changes_hands_starts_afresh(group, dataset, optimizer):
    config = replace(CONFIG, item_table=replace(CONFIG.item_table, optimizer=optimizer))
    model, ids, table = trained_with(config, dataset)
    before = {name: value.clone() for name, value in shards_of(model).items()}
    rows = before[f"{KEY} item_1.momentum1"].view(table.rows, -1).any(dim=1).nonzero().flatten()[:3]
    others = torch.arange(table.rows)[~torch.isin(torch.arange(table.rows), rows)]
    assert len(rows) == 3

    RowReset(model, ids, CONFIG.seed)(NONE_FRESH._replace(item=rows))

    after = shards_of(model)
    for k in range(table.num_hashes):
        key = f"item_tables.embeddings.item_{k}.weight"
        sums_key = f"{key} item_{k}.momentum1"
        new = uniform_rows(key, CONFIG.seed, rows, (0, table.dim), init_range(table))
        assert torch.equal(after[key][rows], new)
        assert not torch.equal(before[key][rows], new)
        assert before[sums_key][rows].count_nonzero() > after[sums_key][rows].count_nonzero() == 0
        for name in (key, sums_key):
            assert torch.equal(after[name][others], before[name][others])
    assert after[f"{KEY} item_1.momentum1"].numel() == table.rows * (table.dim if optimizer == "adagrad" else 1)
    for name, value in after.items():
        if "item_" not in name:
            assert torch.equal(value, before[name])


def test_a_row_starts_from_what_items_like_its_own_have_learned(trained, dataset):
    model, ids, table = trained
    ids_M, rows_M = ids.managed["item"].table()
    # Not in the order of the ids; the second has no content, and of the third nothing is known.
    rows = rows_M.flip(0)[:3]
    new = torch.stack([ids_M[rows_M == row].squeeze() for row in rows])
    item_starts = ItemStarts(PreparedDataset.open(dataset), use_content=True)
    items = item_starts._items
    items._content[items._rows(new[1:].numpy())] = 0.0
    items._created_at[items._rows(new[2:].numpy())] = np.nan
    sums_key = f"{KEY} item_1.momentum1"
    before = {name: value.clone() for name, value in shards_of(model).items()}
    users, fresh_users = "feature_tables.embeddings.user_id_0.weight", torch.tensor([2])
    for name, owned in ((KEY, rows), (sums_key, rows), (users, fresh_users)):  # what the last owners leave
        shards_of(model)[name][owned] = 1e6

    RowReset(model, ids, CONFIG.seed, item_starts)(NONE_FRESH._replace(item=rows, user_id=fresh_users))

    after = shards_of(model)
    told = item_starts.of(new, ids_M[:-3], rows_M[:-3])
    starts = told.new_RF @ (told.known_MF.T @ before[KEY][told.rows_M])
    torch.testing.assert_close(after[KEY][rows[:2]], starts[:2])
    in_a_new_table = uniform_rows(KEY, CONFIG.seed, rows[2:], (0, table.dim), init_range(table))
    torch.testing.assert_close(after[KEY][rows[2:]], in_a_new_table)
    sums = before[sums_key].flatten()[told.rows_M]
    expected = torch.tensor([sums[sums > 0].log().mean().exp(), 0.0, 0.0])
    torch.testing.assert_close(after[sums_key].flatten()[rows], expected)
    assert after[users][fresh_users].abs().max() < 1.0
    assert after[f"{users} user_id_0.momentum1"].flatten()[fresh_users].count_nonzero() == 0


def test_what_a_row_starts_from_does_not_depend_on_the_precision_of_a_step(trained, dataset):
    model, ids, _ = trained
    rows = ids.managed["item"].table()[1][-3:]
    reset = RowReset(model, ids, CONFIG.seed, ItemStarts(PreparedDataset.open(dataset), use_content=True))
    reset(NONE_FRESH._replace(item=rows))
    sums_key = f"{KEY} item_1.momentum1"
    expected, sums = (shards_of(model)[name][rows].clone() for name in (KEY, sums_key))
    for name in (KEY, sums_key):  # what the last owners leave
        shards_of(model)[name][rows] = 1e6
    batch = Mock()
    batch.to.return_value.fresh = NONE_FRESH._replace(item=rows)
    step = StepByStep(Mock(return_value=(Mock(), {})), Mock(), CPU, reset)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        step.progress(iter([batch]))
    assert torch.equal(shards_of(model)[KEY][rows], expected)
    assert torch.equal(shards_of(model)[sums_key][rows], sums)


def test_frozen_tables_give_no_row_away(config, managed_pretrained, dataset, tmp_path):
    frozen = replace(config, finetune=replace(config.finetune, freeze_tower=True))
    finetune(frozen, Place(data=dataset, out=tmp_path / "run", pretrained=managed_pretrained))
    ours, theirs = (RunFolder.open(path) for path in (tmp_path / "run", managed_pretrained))
    assert torch.equal(read_id_map(ours, ours.item_table), read_id_map(theirs, theirs.item_table))
    assert "ids/item/hit_rate" not in runs.losses(tmp_path / "run")  # the map is shown no ids
    tables, pretrained = (runs.weights(path) for path in (tmp_path / "run", managed_pretrained))
    for name in (f"item_tables.embeddings.item_{k}.weight" for k in range(2)):
        assert torch.equal(tables[name], pretrained[name])
    assert len(read_id_map(ours, ours.feature_tables[0])[0])


def test_rows_are_found_where_they_were_trained(managed_finetuned, dataset):
    run = RunFolder.open(managed_finetuned)
    ids, rows = read_id_map(run, run.item_table)
    assert (ids[1:] > ids[:-1]).all()
    assert len(rows.unique()) == len(rows) <= 59
    tower = SequenceTower.from_run(managed_finetuned)
    weights = runs.checkpoint(managed_finetuned)["model"]
    tables = [weights[f"item_tables.embeddings.item_{k}.weight"] for k in range(2)]
    with torch.no_grad():
        found = tower.item_embedding(torch.cat([ids, torch.tensor([-5])]))
    # An id that has no row shares the last one.
    expected = torch.cat([table[torch.cat([rows, torch.tensor([59])])] for table in tables], dim=1)
    assert torch.equal(found, expected)


def test_finetuning_starts_from_the_pretrained_map(config, managed_pretrained, dataset, tmp_path):
    frozen = replace(config, managed_ids=replace(config.managed_ids, update_steps=10_000))
    finetune(frozen, Place(data=dataset, out=tmp_path / "run", pretrained=managed_pretrained))
    ours, theirs = (RunFolder.open(path) for path in (tmp_path / "run", managed_pretrained))
    assert torch.equal(read_id_map(ours, ours.item_table), read_id_map(theirs, theirs.item_table))


def refuses_to_go_on(managed_pretrained, dataset, out, config, sentence):
    with pytest.raises(UserError, match=f"was pretrained with {sentence}; use the same"):
        finetune(config, Place(data=dataset, out=out, pretrained=managed_pretrained))


def test_counts_of_another_policy_are_not_taken_over(config, managed_pretrained, dataset, tmp_path):
    other = replace(config, managed_ids=replace(config.managed_ids, eviction="time_to_live"))
    sentence = r"managed_ids\.eviction lru, not time_to_live"
    refuses_to_go_on(managed_pretrained, dataset, tmp_path / "run", other, sentence)


def test_another_map_is_not_taken_over(config, managed_pretrained, dataset, tmp_path):
    ours = config.managed_ids.map
    theirs = "sorted" if ours == "mpzch" else "mpzch"
    other = replace(config, managed_ids=replace(config.managed_ids, map=theirs))
    refuses_to_go_on(managed_pretrained, dataset, tmp_path / "run", other, rf"managed_ids\.map {ours}, not {theirs}")


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_a_map_that_needs_a_gpu_is_refused_at_once(dataset, tmp_path, monkeypatch):
    monkeypatch.setattr(probed_map, "require_gpu", require_gpu)
    place = Place(data=dataset, out=tmp_path / "run")
    mpzch = replace(CONFIG, managed_ids=replace(CONFIG.managed_ids, map="mpzch"))
    with pytest.raises(UserError, match=r"mpzch needs a GPU to train, and torch sees none; train on a GPU, or"):
        pretrain(mpzch, place)
    assert not place.out.exists()
    # Nothing is refused where no map is made.
    pretrain(replace(mpzch, item_table=runs.CONFIG.item_table, feature_tables=runs.CONFIG.feature_tables), place)


@pytest.mark.parametrize("layout", ["whole", "apart"])
def test_the_exported_model_finds_the_same_rows(managed_finetuned, tmp_path, layout):
    parity = export(managed_finetuned, tmp_path / "model", ExportOptions(layout=layout))
    assert parity["max_abs_diff"] < 1e-5
    requests = pd.read_parquet(managed_finetuned / "requests.parquet")
    requests["candidate_item_id"] = requests["candidate_item_id"].map(lambda ids: np.full_like(ids, 10**15))
    assert np.isfinite(load(tmp_path / "model").score(requests)["click"]).all()


def test_a_run_is_evaluated_with_its_map(config, managed_finetuned, dataset, monkeypatch):
    known = evaluate(managed_finetuned, config, dataset, "test")["metrics"]["model"]["click"]
    monkeypatch.setattr(checkpoint, "_maps", lambda _: {})
    unknown = evaluate(managed_finetuned, config, dataset, "test")["metrics"]["model"]["click"]
    assert known["logloss"] != pytest.approx(unknown["logloss"], rel=1e-4)


@pytest.mark.parametrize("layout", ["whole", "apart"])
def test_a_run_that_gave_nobody_a_row_is_exported(dataset, tmp_path, layout):
    never = replace(CONFIG, managed_ids=replace(CONFIG.managed_ids, update_steps=10_000))
    finetune(never, Place(data=dataset, out=tmp_path / "run"))
    assert export(tmp_path / "run", tmp_path / "model", ExportOptions(layout=layout))["max_abs_diff"] < 1e-5


def test_a_resumed_run_equals_the_uninterrupted_one(config, managed_finetuned, managed_pretrained, dataset, tmp_path):
    run = runs.interrupted(managed_finetuned, tmp_path / "run", 8)
    finetune(config, Place(data=dataset, out=run, pretrained=managed_pretrained, resume=True))
    pd.testing.assert_frame_equal(runs.losses(run), runs.losses(managed_finetuned), rtol=1e-6, atol=1e-6)
    ours, theirs = (RunFolder.open(path) for path in (run, managed_finetuned))
    for table in (ours.item_table, ours.feature_tables[0]):
        assert torch.equal(read_id_map(ours, table), read_id_map(theirs, table))


def test_the_items_of_a_dataset_have_rows_before_the_first_step_and_keep_them(dataset, tmp_path):
    known = PreparedDataset.open(dataset).known_items()
    config = replace(
        CONFIG,
        item_table=replace(CONFIG.item_table, rows=len(known) + 1),
        managed_ids=ManagedIdsConfig(min_count=0, update_steps=3, eviction="lru", new_items="init"),
    )
    pretrain(config, Place(data=dataset, out=tmp_path / "whole"))
    rows = counted(tmp_path / "whole", "ids/item/hit_rate")
    assert rows[0] == 1.0
    ids, _ = read_id_map(RunFolder.open(tmp_path / "whole"), RunFolder.open(tmp_path / "whole").item_table)
    assert ids.tolist() == known.tolist()
    run = runs.interrupted(tmp_path / "whole", tmp_path / "run", 4)
    pretrain(config, Place(data=dataset, out=run, resume=True))
    for mine, theirs in zip(item_weights(run), item_weights(tmp_path / "whole"), strict=True):
        torch.testing.assert_close(mine, theirs)


def counted(run, name):
    """What the log says of a counter, step by step."""
    return [json.loads(line)[name] for line in (run / "metrics.jsonl").read_text().splitlines()]


def item_weights(run):
    return [weight for name, weight in sorted(runs.weights(run).items()) if "item" in name]


@pytest.mark.parametrize("phase", ["pretrain", "finetune"])
def test_a_batch_finds_the_rows_that_it_has_just_earned(group, dataset, phase):
    eager = ManagedIdsConfig(min_count=1, update_steps=1, eviction="lru")
    config, data = replace(CONFIG, managed_ids=eager), PreparedDataset.open(dataset)
    tables = finetune_tables(config, data.info.schema, data.info.counts.users)
    ids = Ids(tables.item, tables.features, eager)
    feed = segment_feed(config, data, ids)
    if phase == "finetune":
        feed = request_feed(config, data, ids, "train", training=True)
    given = 0
    for batch in feed.batches(0, feed.steps_per_epoch):
        # The map is as the batch has left it.
        now = ids.item_rows({"item": (batch.item_ids, torch.tensor([len(batch.item_ids)]))})
        assert torch.equal(batch.item_rows.values(), now.values())
        given += len(batch.fresh.item)
    assert given > tables.item.rows  # rows changed hands


def test_random_ids_in_place_of_candidates_are_nobodys_sightings(managed_finetuned, dataset):
    assert CONFIG.cold_start.candidate_id_randomization > 0
    items = set(PreparedDataset.open(dataset).items()["item_id"].to_pylist())
    state = runs.checkpoint(managed_finetuned)["ids"]["item"]
    waiting, _ = state["waiting"]
    assert set(waiting.tolist()) <= items
    run = RunFolder.open(managed_finetuned)
    assert set(read_id_map(run, run.item_table)[0].tolist()) <= items


def test_the_config_says_what_rows_of_new_items_start_from(dataset):
    data = PreparedDataset.open(dataset)

    def starts(ids, new_items):
        config = replace(CONFIG, item_table=replace(CONFIG.item_table, ids=ids))
        return item_starts(replace(config, managed_ids=replace(CONFIG.managed_ids, new_items=new_items)), data)

    assert starts("managed", "content")._use_content
    assert not starts("managed", "age")._use_content
    assert starts("managed", "init") is starts("hashed", "content") is None
