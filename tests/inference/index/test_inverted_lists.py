"""FAISS's lists: nearly what exact search finds, and never what is hidden."""

import json
import shutil
import sys

import numpy as np
import pandas as pd
import pytest
import torch

import pinfm.inference.index.build as build_module
from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.index.lists import ListIndex, build_lists, require_faiss
from pinfm.inference.index.search import ExactIndex
from pinfm.train.cli.main import main


def list_index(count=5000, width=16, probes=None):
    generator = torch.Generator().manual_seed(1)
    centres = torch.randn(60, width, generator=generator)
    vectors = centres[torch.randint(60, (count,), generator=generator)] + 0.4 * torch.randn(
        count, width, generator=generator
    )
    vectors = torch.nn.functional.normalize(vectors)
    catalogue = ExactIndex(["category"], torch.ones(width), 0)
    catalogue.place("ids", torch.arange(count)[:, None] * 3)
    catalogue.place("values.category", torch.tensor([[10], [20], [30]]))
    catalogue.place("codes.category", (torch.arange(count) % 100).clamp(max=2).int()[:, None])
    lists, chosen, found = build_lists(vectors.numpy())
    return ListIndex(catalogue, lists, probes or chosen), vectors, chosen, found


def test_as_many_lists_are_looked_into_as_find_99_of_100():
    pytest.importorskip("faiss")
    index, vectors, probes, found = list_index()
    assert found >= 0.99
    assert 1 < probes < index._lists.nlist
    users = torch.nn.functional.normalize(vectors[::100] + 0.2 * torch.randn(50, 16))
    none = torch.zeros(50, dtype=torch.int64)
    lengths, ids, products = index(users, none, none[:0], {}, 100)
    assert lengths.tolist() == [100] * 50
    exact = torch.topk(users @ vectors.T, 100)
    shares = [torch.isin(a * 3, b).float().mean() for a, b in zip(exact.indices, ids.view(50, 100), strict=True)]
    assert np.mean(shares) > 0.97
    torch.testing.assert_close(products.view(50, 100)[:, 0], exact.values[:, 0], rtol=0, atol=2e-3)


@pytest.mark.parametrize("probes", [1, None])
def test_hidden_items_are_not_found_and_narrow_filters_find_all_that_is_left(probes):
    """1 % of the items have category 10: the nearest lists have too few of them."""
    pytest.importorskip("faiss")
    index, vectors, _, _ = list_index(probes=probes)
    some = torch.arange(0, 5000, 7) * 3
    users = vectors[[5, 6, 7]]
    seen = torch.tensor([len(some), 1, 0])
    asked = {
        "filter_category": torch.tensor([10]),
        "filter_category_lengths": torch.tensor([0, 1, 0]),
        "exclude_lengths": torch.tensor([0, 0, 1]),
        "exclude_item_id": torch.tensor([21]),
    }
    lengths, ids, _ = index(users, seen, torch.cat([some, torch.tensor([0])]), asked, 60)
    first, second, third = ids.split(lengths.tolist())
    assert not torch.isin(first, some).any()
    assert second.sort().values.tolist() == [300 * place for place in range(1, 50)]
    assert len(third) == 60
    assert 21 not in third.tolist()
    with pytest.raises(UserError, match=r"k \(0\) must be at least 1"):
        index(users, seen * 0, some[:0], {}, 0)


def test_an_artefact_with_lists(root, finetuned, dataset, exported, tmp_path, monkeypatch, capsys):
    pytest.importorskip("faiss")
    model = shutil.copytree(exported, tmp_path / "model")
    words = ["index", str(model), "--items", str(dataset / "items.parquet"), "--index-attributes", "[topic]"]
    requests = pd.read_parquet(finetuned / "requests.parquet")
    assert main([*words, "--index-kind", "exact"]) == 0
    exact = load(model).retrieve(requests.assign(filter_topic=[[1, 2]] * len(requests)), k=50)
    assert main([*words, "--index-kind", "faiss"]) == 0
    assert "120 items in lists, recall@100" in capsys.readouterr().out
    told = json.loads((model / "index" / "index.json").read_text())
    assert (told["kind"], told["recall_at_100"] >= 0.99) == ("faiss", True)
    found = load(model).retrieve(requests.assign(filter_topic=[[1, 2]] * len(requests)), k=50)
    for row in range(len(requests)):  # all that the filter leaves
        assert set(found.loc[found["request"] == row, "item_id"]) == set(exact.loc[exact["request"] == row, "item_id"])
    monkeypatch.setattr(build_module, "MANY", 100)
    assert main(words) == 0
    assert json.loads((model / "index" / "index.json").read_text())["kind"] == "faiss"


def test_without_faiss_a_sentence_says_how_to_do(monkeypatch):
    monkeypatch.setitem(sys.modules, "faiss", None)
    with pytest.raises(
        UserError, match=r"FAISS is not installed; install pinfm\[faiss\], or make the index with --ind"
    ):
        require_faiss()
