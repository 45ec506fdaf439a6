"""What is evaluated while a run trains, and when."""

import json
import math
import shutil
from dataclasses import replace

import numpy as np
import pyarrow.parquet as pq
import pytest
import runs
import torch

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.validated import Validated
from pinfm.train.cli.main import main
from pinfm.train.config import FinetuneValidation, PretrainValidation
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.queries import split_queries
from pinfm.train.loader.feeds import sampled_request_feed
from pinfm.train.phases import finetune, finetune_tables, pretrain, trainable_ids
from pinfm.train.run_folder.place import Place
from pinfm.train.validation.ranking import ranking_measure, task_metrics
from pinfm.train.validation.retrieval import of_this_rank, sample_queries
from pinfm.train.validation.validation import Validation, nothing_yet

PRETRAIN = replace(runs.CONFIG, pretrain=replace(runs.CONFIG.pretrain, validation=PretrainValidation(per_epoch=1)))
FINETUNE = replace(runs.CONFIG, finetune=replace(runs.CONFIG.finetune, validation=FinetuneValidation(per_epoch=1)))


def validation(per_epoch, steps_per_epoch=10, total_steps=25, patience=2):
    config = PretrainValidation(per_epoch=per_epoch, patience=patience)
    return Validation(measure=dict, config=config, steps_per_epoch=steps_per_epoch, total_steps=total_steps)


@pytest.mark.parametrize(
    ("per_epoch", "steps"),
    [
        (1, [10, 20, 25]),
        (2, [5, 10, 15, 20, 25]),
        (3, [4, 7, 10, 14, 17, 20, 24, 25]),
        (0.5, [20, 25]),
        (100, list(range(1, 26))),
    ],
)
def test_evaluations_are_evenly_spaced_and_the_last_step_has_one(per_epoch, steps):
    assert [step for step in range(1, 26) if validation(per_epoch).follows(step)] == steps


def test_a_run_ends_once_its_patience_is_used_up():
    found = Validated(metric="ndcg@10", higher_is_better=True).after(1, 0.5).after(2, 0.5)
    assert not validation(1).has_ended(found)
    assert validation(1).has_ended(found.after(3, math.nan))
    assert not validation(1).has_ended(found.after(3, 0.6).after(4, 0.6))
    assert not validation(1).has_ended(None)


def test_by_default_nothing_is_evaluated():
    assert nothing_yet(runs.CONFIG.pretrain.validation) is None
    assert nothing_yet(runs.CONFIG.finetune.validation) is None


@pytest.mark.parametrize(
    ("metric", "higher"), [("auc", True), ("request_auc", True), ("ne", False), ("logloss", False)]
)
def test_of_losses_less_is_better(metric, higher):
    assert nothing_yet(FinetuneValidation(per_epoch=1, metric=metric)).higher_is_better == higher


# Samples.


def of_queries(queries):
    """(user, target, its history) of each query."""
    events, first_B, target_B = queries
    return [
        (events["user_id"][b], events["item_id"][b], tuple(events["item_id"][a:b]))
        for a, b in zip(first_B, target_B, strict=True)
    ]


def test_queries_are_a_sample_of_the_splits_own(group, dataset):
    data = PreparedDataset.open(dataset)
    all_of_them = [q for bucket in range(6) for q in of_queries(split_queries(data, "validation", bucket))]
    assert len(set(all_of_them)) == len(all_of_them) > 20
    assert sorted(of_queries(sample_queries(data, "validation", 10_000))) == sorted(all_of_them)
    some = of_queries(sample_queries(data, "validation", 11))
    assert len(set(some)) == 11
    assert set(some) < set(all_of_them)
    assert some == of_queries(sample_queries(data, "validation", 11))


def test_the_ranks_share_the_queries_in_the_same_number_of_batches(dataset, monkeypatch):
    queries = sample_queries(PreparedDataset.open(dataset), "validation", 17)
    monkeypatch.setattr("pinfm.train.validation.retrieval.BATCH", 3)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 4)
    shares = []
    for rank in range(4):
        monkeypatch.setattr("torch.distributed.get_rank", lambda rank=rank: rank)
        shares.append([part.target_B for part in of_this_rank(queries)])
    assert [len(share) for share in shares] == [2, 2, 2, 2]
    assert sorted(np.concatenate([part for share in shares for part in share])) == sorted(queries.target_B)


def test_requests_are_the_same_sample_in_every_run(group, dataset):
    data = PreparedDataset.open(dataset)
    ids = trainable_ids(finetune_tables(runs.CONFIG, data.info.schema, data.info.counts.users), runs.CONFIG, data)
    first, again = (
        next(sampled_request_feed(replace(runs.CONFIG, seed=seed), data, ids, "validation").arrays(0, 1))
        for seed in (3, 4)
    )
    np.testing.assert_array_equal(first.request_id, again.request_id)
    np.testing.assert_array_equal(first.embedded_item_id, first.item_id)  # ids are not randomised


# Tasks.


def metrics_of(labels):
    p_NK = torch.tensor([[0.9, 0.9], [0.2, 0.2], [0.6, 0.6], [0.4, 0.4]])
    return task_metrics(p_NK, torch.tensor(labels), torch.tensor([0, 0, 1, 1]), ["click", "save"])


def test_a_task_without_both_labels_has_no_metric():
    of = metrics_of([[True, False], [False, False], [False, False], [True, False]])
    assert of["click"]["auc"] == 0.75
    assert of["click"]["request_auc"] == 0.5
    assert math.isnan(of["save"]["auc"])
    assert math.isnan(of["save"]["ne"])


@pytest.fixture
def measured(group, dataset, monkeypatch):
    """Evaluates a model with these labels of click and save."""

    def measure(labels):
        data = PreparedDataset.open(dataset)
        ids = trainable_ids(finetune_tables(FINETUNE, data.info.schema, data.info.counts.users), FINETUNE, data)
        of = metrics_of(labels)
        monkeypatch.setattr("pinfm.train.validation.ranking._predicted", lambda *_: ())
        monkeypatch.setattr("pinfm.train.validation.ranking.task_metrics", lambda *_: of)
        return ranking_measure(FINETUNE, data, ids, None, torch.device("cpu"))()

    return measure


def test_it_is_left_out_of_the_mean(measured):
    found = measured([[True, False], [False, False], [False, False], [True, False]])
    assert found["auc"] == found["click/auc"] == 0.75
    assert math.isnan(found["save/auc"])


def test_where_no_task_has_the_metric_it_is_said(measured):
    with pytest.raises(
        UserError, match=r"no task has auc on the 10,000 validation requests of .*; raise that, or choo"
    ):
        measured([[False, False]] * 4)


# Mistakes.


@pytest.fixture
def nothing_held_out(dataset, tmp_path):
    """The dataset without its validation split."""
    folder = shutil.copytree(dataset, tmp_path / "emptied")
    for bucket in (folder / "impressions" / "validation").iterdir():
        pq.write_table(pq.read_table(bucket).slice(0, 0), bucket)
    values = json.loads((folder / "dataset.json").read_text())
    end = values["splits"]["validation"][1]
    values["splits"]["validation"] = [end, end]
    (folder / "dataset.json").write_text(json.dumps(values))
    return folder


@pytest.mark.parametrize(
    ("train", "config", "told"),
    [
        (pretrain, PRETRAIN, r"nobody with a history has a positive event in the validation split, which pretrain\.v"),
        (finetune, FINETUNE, r"the validation split has no requests, which finetune\.validation asks for; prepare the"),
    ],
)
def test_a_dataset_without_a_validation_split_is_refused(nothing_held_out, tmp_path, train, config, told):
    with pytest.raises(UserError, match=told):
        train(config, Place(data=nothing_held_out, out=tmp_path / "run"))
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    ("flags", "told"),
    [
        (["--pretrain.validation.metric", "auc"], "'ndcg@10', 'ndcg@50'"),
        (["--finetune.validation.metric", "ndcg@10"], "'auc', 'request_auc'"),
        (["--pretrain.validation.patience", "0"], r"pretrain.validation.patience (0) must be at least 1"),
        (["--finetune.validation.per_epoch", "-1"], "finetune.validation.per_epoch (-1.0) must be at least 0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(dataset, tmp_path, capsys, flags, told):
    assert main(["finetune", "--data", str(dataset), "--out", str(tmp_path / "run"), *flags]) == 2
    error = capsys.readouterr().err
    assert told in error
    assert error.count("\n") == 1
