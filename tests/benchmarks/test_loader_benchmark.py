"""The loader's benchmark on a tiny dataset: its figures are those of the batches it made."""

import contextlib
import io
import json
import sys
from dataclasses import replace

import pytest
import runs as tiny

from benchmarks import loader
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.distributed import process_group

CONFIG = replace(tiny.CONFIG, finetune=replace(tiny.CONFIG.finetune, requests_per_user=4))


def test_histories_are_held_once(dataset):
    found = loader.speed_of(CONFIG, dataset, steps=2, repeats=2)
    assert found["loader, impressions/s"] > 0
    assert found["fine-tuning, impressions/s"] > 0
    assert 0 < found["events held"] < found["events that requests see"] < found["events if copied per candidate"]


def test_one_epoch_is_loaded(dataset):
    info = PreparedDataset.open(dataset).info
    with process_group(loader.CPU):
        feed = loader.training_feed(CONFIG, PreparedDataset.open(dataset))
        impressions = sum(len(batch.labels) for batch in feed.batches(0, feed.steps_per_epoch))
    found = loader.memory_of_an_epoch(CONFIG, dataset)
    assert found["impressions"] == impressions > 0
    assert found["buckets"] == info.num_buckets
    assert found["files, MiB"] > 0


def test_the_report_has_a_row_for_each_world(dataset, tmp_path, monkeypatch):
    def prepared(source, out, num_buckets=None):
        return dataset

    def in_this_process(command):
        monkeypatch.setattr(sys, "argv", [str(word) for word in command[2:]])
        with contextlib.redirect_stdout(io.StringIO()) as printed:
            loader.main()
        return printed.getvalue()

    monkeypatch.setattr(loader, "prepared", prepared)
    monkeypatch.setattr(loader.subprocess, "check_output", in_this_process)
    config, report = tiny.write_config(CONFIG, tmp_path / "config.yaml"), tmp_path / "report.json"
    flags = ["--config", config, "--steps", "1", "--repeats", "1", "--users", "250", "--report", report]
    monkeypatch.setattr(sys, "argv", ["loader", *map(str, flags)])
    loader.main()
    written = json.loads(report.read_text())
    speed = written["speed"][0]
    assert speed["ratio"] == pytest.approx(speed["loader, impressions/s"] / speed["fine-tuning, impressions/s"])
    assert [row["users"] for row in written["memory"]] == [250]
