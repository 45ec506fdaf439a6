"""The kept requests: every rank predicts the same number of batches, however many requests each of them has."""

import pandas as pd
import pytest
import runs
import torch

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.build import Tables, build_finetune, shard
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import request_feed
from pinfm.train.run_folder import parity


@pytest.mark.parametrize(("others_need", "steps"), [(0, 1), (3, 4)])
def test_prediction_goes_on_while_any_rank_needs_more(
    group, dataset, finetuned, tmp_path, monkeypatch, others_need, steps
):
    run, data = RunFolder.open(finetuned), PreparedDataset.open(dataset)
    tables = Tables(item=run.item_table, features=run.feature_tables)
    feed = request_feed(
        runs.CONFIG, data, Ids(tables.item, tables.features, runs.CONFIG.managed_ids), "train", training=False
    )
    cpu = torch.device("cpu")
    model = shard(
        build_finetune(runs.CONFIG, run.schema, tables, cpu), runs.CONFIG, runs.CONFIG.finetune.optimizer, {}, cpu
    )
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
    parity.write_parity_requests(model, feed, run.schema, tmp_path)
    assert len(predicted) == steps
    assert len(pd.read_parquet(tmp_path / "requests.parquet")) == 20
