"""The kept requests: every rank predicts the same number of batches, however many requests each of them has."""

import pandas as pd
import pytest
import runs
import torch

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train import distributed
from pinfm.train.build import Tables, build_finetune, shard
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import request_feed
from pinfm.train.run_folder import parity


@pytest.fixture
def prediction(group, dataset, finetuned):
    """A model, requests to predict, and their dataset."""
    run, data, cpu = RunFolder.open(finetuned), PreparedDataset.open(dataset), torch.device("cpu")
    tables = Tables(item=run.item_table, features=run.feature_tables)
    ids = Ids(tables.item, tables.features, runs.CONFIG.managed_ids)
    module = build_finetune(runs.CONFIG, run.schema, tables, cpu)
    model = shard(module, runs.CONFIG, runs.CONFIG.finetune.optimizer, {}, cpu)
    return model, request_feed(runs.CONFIG, data, ids, "train", training=False), data


@pytest.mark.parametrize(("others_need", "steps"), [(0, 1), (3, 4)])
def test_prediction_goes_on_while_any_rank_needs_more(prediction, tmp_path, monkeypatch, others_need, steps):
    predicted, calls = [], []

    def predict(*arguments):
        predicted.append(1)
        return genuine(*arguments)

    def max_over_ranks(missing):
        calls.append(missing)
        return max(missing, others_need + 1 - len(calls))

    genuine = parity.predict
    monkeypatch.setattr(parity, "predict", predict)
    monkeypatch.setattr(parity, "max_over_ranks", max_over_ranks)
    monkeypatch.setattr(parity, "NUM_REQUESTS", 20)
    parity.write_parity_requests(*prediction, tmp_path / "requests.parquet")
    assert len(predicted) == steps
    assert len(pd.read_parquet(tmp_path / "requests.parquet")) == 20


@pytest.mark.parametrize("most", [True, False])
def test_the_rank_with_most_requests_writes_them(prediction, tmp_path, monkeypatch, most):
    counts = []
    monkeypatch.setattr(parity, "has_most", lambda count: counts.append(count) or most)
    monkeypatch.setattr(parity, "NUM_REQUESTS", 20)
    parity.write_parity_requests(*prediction, tmp_path / "requests.parquet")
    assert (tmp_path / "requests.parquet").exists() == most
    assert counts[0] >= 20


@pytest.mark.parametrize(("counts", "writer"), [([0, 0], 0), ([0, 3], 1), ([3, 3], 0), ([5, 3, 7, 7], 2)])
def test_one_rank_has_most(monkeypatch, counts, writer):
    claims = []

    def says(rank):
        monkeypatch.setattr(distributed.dist, "get_rank", lambda: rank)
        return distributed.has_most(counts[rank])

    monkeypatch.setattr(distributed.dist, "get_world_size", lambda: len(counts))
    monkeypatch.setattr(distributed, "max_over_ranks", lambda claim: claims.append(claim) or claim)
    assert all(map(says, range(len(counts))))
    most = max(claims)
    monkeypatch.setattr(distributed, "max_over_ranks", lambda claim: most)
    assert [rank for rank in range(len(counts)) if says(rank)] == [writer]
