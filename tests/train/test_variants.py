"""Every variant of the model trains, is exported within the parity limit, and scores; freezing and rates do as told."""

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
import runs
import torch

from pinfm.inference.export import export
from pinfm.model.tower import SequenceTower
from pinfm.train.build import build_finetune, build_optimizer, build_pretrain, finetune_tables, pretrain_tables, shard
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder.place import Place

# Few steps, each of many requests.
SHORT = replace(runs.CONFIG, log_steps=1, finetune=replace(runs.CONFIG.finetune, batch_size=128))

CPU = torch.device("cpu")


def changed(**fields: Any) -> Any:
    """SHORT with some fields of its parts changed, as in changed(tower={"fusion": "lite_mean"})."""
    parts = {name: replace(getattr(SHORT, name), **v) if isinstance(v, dict) else v for name, v in fields.items()}
    return replace(SHORT, **parts)


# What a small catalogue wants: items and states in one space, a row of its own for each item from the first step on.
SMALL_CATALOGUE: dict[str, Any] = {
    "tower": {"heads": "tied", "dim": 16, "out_dim": 16},
    "item_table": {"ids": "managed", "num_hashes": 1, "dim": 16, "rows": 400},
    "managed_ids": {"min_count": 0, "new_items": "init"},
}

VARIANTS = {
    "lite_mean": changed(tower={"fusion": "lite_mean"}),
    "lite_last": changed(tower={"fusion": "lite_last"}),
    "dot": changed(ranker={"interaction": "dot"}),
    "no tower": changed(use_tower=False),
    "no tower, counts": changed(use_tower=False, ranker={"history_counts": True}),
    "request time": changed(tower={"request_time": True}),
    "content": changed(cold_start={"content_fusion": True}),
    "content vector": changed(ranker={"content_vector": True}),
    "no tower, content vector": changed(use_tower=False, ranker={"content_vector": True}),
    "tower path": changed(ranker={"tower_path": True}),
    "token": changed(cold_start={"learnable_token": True}),
    "dropouts": changed(
        tower={"dropout": 0.2},
        ranker={"dropout": 0.2},
        cold_start={"dropout_young": 0.7, "dropout_middle": 0.5},
    ),
    "bf16": changed(precision="bf16"),
    "no next-token loss": changed(finetune={"next_token_weight": 0.0}),
    "fp16 items": changed(item_table={"precision": "fp16"}),
    "adversarial": changed(
        finetune={"adversarial_radius": 0.1}, tower={"dropout": 0.2}, cold_start={"content_fusion": True}
    ),
    "small catalogue": changed(**SMALL_CATALOGUE, cold_start={"content_fusion": True}),
    "own histories": changed(finetune={"requests_per_user": 1}),
}


@pytest.mark.filterwarnings("ignore:on a CPU item rows in fp16 are rounded to the nearest number")
@pytest.mark.parametrize("name", VARIANTS)
def test_a_variant_trains_and_is_exported(dataset, tmp_path, name):
    metrics = finetune(VARIANTS[name], Place(data=dataset, out=tmp_path / "run"))
    steps = runs.losses(tmp_path / "run")
    assert len(steps) >= 2
    assert np.isfinite(steps.to_numpy()).all()
    assert metrics["loss"] < steps["loss"].iloc[0]
    if name == "no tower, counts":
        assert pd.read_parquet(tmp_path / "run" / "requests.parquet")["history_item_id"].map(len).max() > 0
    if name.startswith("no tower") or name == "no next-token loss":
        assert "next_token_loss" not in steps or not steps["next_token_loss"].any()
    assert export(tmp_path / "run", tmp_path / "model")["max_abs_diff"] <= 1e-5


PRETRAINING = [
    {"precision": "bf16"},
    {"pretrain": {"log_q": False}},
    {"pretrain": {"negatives": "sampled", "num_sampled": 64, "log_q": False}},
    {"pretrain": {"negatives": "catalogue", "log_q": False}},
    SMALL_CATALOGUE,
    {**SMALL_CATALOGUE, "pretrain": {"masked_event_weight": 1.0, "contrastive_weight": 0.5}},
    {"pretrain": {"multi_token_weight": 0.0, "future_token_weight": 0.0}},
    {"pretrain": {"masked_event_weight": 1.0, "contrastive_weight": 0.5}, "tower": {"request_time": True}},
    {"pretrain": {"masked_event_weight": 1.0, "contrastive_weight": 0.5}, "precision": "bf16"},
]


@pytest.mark.parametrize("fields", PRETRAINING)
def test_pretraining_variants_train(dataset, tmp_path, fields):
    pretrain(changed(**fields), Place(data=dataset, out=tmp_path / "run"))
    steps = runs.losses(tmp_path / "run")
    assert np.isfinite(steps.to_numpy()).all()
    assert steps["loss"].iloc[-1] < steps["loss"].iloc[0]


def test_bf16_rounds_and_fp32_does_not(dataset, pretrained, tmp_path):
    pretrain(changed(precision="bf16"), Place(data=dataset, out=tmp_path / "run"))
    low, full = (runs.losses(run)["loss"].iloc[0] for run in (tmp_path / "run", pretrained))
    assert low != full
    assert low == pytest.approx(full, rel=0.02)


def test_in_bf16_each_step_computes_with_the_weights_of_the_step_before(dataset, tmp_path):
    """Of tables that hardly move: what is learnt is in the dense weights."""
    for precision in ("fp32", "bf16"):
        dense = {"epochs": 3, "optimizer": replace(runs.OPTIMIZER, table_lr=1e-9)}
        pretrain(changed(precision=precision, pretrain=dense), Place(data=dataset, out=tmp_path / precision))
    full, low = (runs.losses(tmp_path / precision)["loss"] for precision in ("fp32", "bf16"))
    assert low.to_numpy() == pytest.approx(full.to_numpy(), rel=0.01)


def tower_of(run):
    return {name: value for name, value in SequenceTower.from_run(run).state_dict().items() if ".content." not in name}


def test_a_frozen_tower_keeps_its_pretrained_values(dataset, pretrained, finetuned, tmp_path):
    config = changed(finetune={"freeze_tower": True})
    finetune(config, Place(data=dataset, out=tmp_path / "run", pretrained=pretrained))
    before, frozen, trained = tower_of(pretrained), tower_of(tmp_path / "run"), tower_of(finetuned)
    assert frozen.keys() == before.keys()
    for name, value in frozen.items():
        torch.testing.assert_close(value, before[name], rtol=0, atol=0, msg=name)
    learnt = {name for name, value in trained.items() if not torch.equal(value, before[name])}
    assert {name.split(".")[0] for name in learnt} == {"item_embedding", "encoder"}
    steps = runs.losses(tmp_path / "run")
    assert steps["loss"].iloc[-1] < steps["loss"].iloc[0]
    assert export(tmp_path / "run", tmp_path / "model")["max_abs_diff"] <= 1e-5


@pytest.fixture
def data(dataset):
    return PreparedDataset.open(dataset)


def rates_of(model, optimizer):
    """Name -> learning rate of every weight that learns."""
    owner = {id(parameter): name for name, parameter in model.named_parameters()}
    tables = {name: group["lr"] for name, group in fused_groups(model)}
    dense = optimizer.optimizers[1][1].param_groups
    return tables | {owner[id(p)]: group["lr"] for group in dense for p in group["params"]}


def fused_groups(model):
    for owner, fused in model.fused_optimizer.optimizers:
        (rate,) = {group["lr"] for group in fused.param_groups}
        yield from ((f"{owner}.{name}", {"lr": rate}) for name in fused.params)


def test_what_is_pretrained_learns_at_a_share_of_the_rankers_rate(group, data):
    run = changed(cold_start={"content_fusion": True, "learnable_token": True})
    schema, tables = data.info.schema, finetune_tables(run, data.info.schema, 60)
    config = replace(run.finetune.optimizer, dense_lr=0.01, table_lr=0.5, pretrained_lr_scale=0.1)
    model = shard(build_finetune(run, schema, tables, CPU), run, config, {}, CPU)
    rates = rates_of(model, build_optimizer(model, config))
    # Content and token are new to fine-tuning, although they are the encoder's.
    expected = {"encoder.content": 0.01, "encoder.fusion.token": 0.01, "encoder": 0.001}
    expected |= {"item_tables": 0.05, "feature_tables": 0.5, "ranker": 0.01, "tower_heads": 0.01}
    parts = {name: next(part for part in expected if part in name) for name in rates}
    assert set(parts.values()) == expected.keys()
    for name, rate in rates.items():
        assert rate == pytest.approx(expected[parts[name]]), name
    assert len(rates) == sum(parameter.requires_grad for parameter in model.parameters())


def test_pretraining_learns_at_the_full_rates(group, data):
    config = runs.CONFIG.pretrain.optimizer
    module = build_pretrain(runs.CONFIG, data.info.schema, pretrain_tables(runs.CONFIG), CPU)
    model = shard(module, runs.CONFIG, config, {}, CPU)
    rates = rates_of(model, build_optimizer(model, config))
    for part, rate in {"item_tables": config.table_lr, "encoder": config.dense_lr}.items():
        own = [found for name, found in rates.items() if part in name]
        assert own == pytest.approx([rate] * len(own))
        assert own


def test_nothing_pretrained_is_not_slowed_down(dataset, tmp_path, finetuned):
    """Without --pretrained the tower learns at the ranker's rate, whatever pretrained_lr_scale says."""
    for name, scale in (("a", 0.1), ("b", 1.0)):
        optimizer = replace(SHORT.finetune.optimizer, pretrained_lr_scale=scale)
        finetune(changed(finetune={"optimizer": optimizer}), Place(data=dataset, out=tmp_path / name))
    assert runs.losses(tmp_path / "a").equals(runs.losses(tmp_path / "b"))


def test_the_manifest_says_what_made_the_run(finetuned, pretrained, dataset):
    manifest = json.loads((finetuned / "manifest.json").read_text())
    assert manifest["kind"] == "finetune"
    assert manifest["pretrained"] == str(pretrained)
    assert manifest["data"] == str(dataset)
    assert manifest["seed"] == manifest["config"]["seed"] == runs.CONFIG.seed
    assert manifest["versions"]["torchrec"] == "1.8.0"
    assert manifest["hardware"]["cores"] >= 1
    assert manifest["dataset"]["counts"]["users"] == PreparedDataset.open(dataset).info.counts.users
    assert any((finetuned / "tensorboard").iterdir())
