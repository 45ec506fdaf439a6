"""The benchmark of retrieval, on catalogues of a moment."""

import json
import sys

import pytest

from benchmarks import retrieval_index


def test_exact_search_is_timed_and_its_recall_counted():
    row = retrieval_index.exact_row(3000, 5)
    assert row["recall@100"] > 0.95
    assert 0 < row["p50, ms"] <= row["p99, ms"]


def test_lists_are_made_and_asked():
    pytest.importorskip("faiss")
    row = retrieval_index.lists_row(4000, 20)
    assert row["recall@100"] > 0.9
    assert 1 <= row["looked into"] <= row["lists"]


def test_both_ways_find_the_same_next_items(pretrained, dataset, tmp_path, monkeypatch):
    report = tmp_path / "report.json"
    words = ["--parts", "quality", "--run", pretrained, "--data", dataset, "--threads", "1", "--report", report]
    monkeypatch.setattr(sys, "argv", ["retrieval_index", *map(str, words)])
    retrieval_index.main()
    exact, through = json.loads(report.read_text())["quality"]
    assert exact["queries"] == through["queries"] > 10
    assert through["hr@10"] == pytest.approx(exact["hr@10"], abs=0.05)
