"""The formula counts what the hash does."""

import pytest
import torch

from benchmarks import hash_rows
from pinfm.embeddings.hashing import hash_rows as rows_of
from pinfm.embeddings.hashing import hash_seeds


def test_one_pair_of_items_is_alike_at_the_rows_needed():
    items, rows = 2000, round(hash_rows.rows_needed(2000, 2))
    pairs = []
    for seed in range(200):
        first, second = rows_of(torch.arange(items), hash_seeds(2, seed), rows)
        pairs.append(items - len((first * rows + second).unique()))
    # The mean of 200 counts, each about Poisson with mean 1.
    assert sum(pairs) / len(pairs) == pytest.approx(1.0, abs=0.25)


def test_the_plot_is_drawn(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["hash_rows", "--out", str(tmp_path / "plots" / "rows.svg")])
    hash_rows.main()
    assert "k = 8" in (tmp_path / "plots" / "rows.svg").read_text()
    assert "1,000,000 items, one pair alike: k = 2: 707,106" in capsys.readouterr().out
