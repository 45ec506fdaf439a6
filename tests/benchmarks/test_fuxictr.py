"""What FuxiCTR is given, against loops, and what the comparison with it says. Its code is no part of this project."""

import json
import statistics
from pathlib import Path

import pandas as pd
import pytest
import torch
from loops import requests_of
from torch import nn

from benchmarks.fuxictr import PAGE, SECTION, gains, rows_so_far
from benchmarks.parts.pages import report_path
from benchmarks.parts.peers.flat import FEATURE_MAP, write_flat
from benchmarks.parts.peers.fuxi import Budget, FuxiCTR, Rows
from benchmarks.parts.peers.pairs import PAIRS
from benchmarks.parts.peers.swap import InPlace, one_row
from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.build import build_interaction
from pinfm.model.ranking.interactions.parts.fields import FieldShape
from pinfm.train.data.dataset import PreparedDataset

ROOT = Path(__file__).parents[2]
AS_GOOD = 0.0005
AS_EQUAL = 1e-5


@pytest.fixture(scope="session")
def flat(dataset, tmp_path_factory):
    return write_flat(PreparedDataset.open(dataset), tmp_path_factory.mktemp("flat"), "click", min_values=2)


def flat_rows(data, split, names):
    """Every impression of a split, by a loop."""
    rows = []
    for request in requests_of(data, split):
        for i, item in enumerate(request["item_id"]):
            row = {name: request[name][i] if isinstance(request[name], list) else request[name] for name in names}
            rows.append({**row, "item_id": item, "click": int(request["label_click"][i])})
    return rows


def test_codes_are_those_of_a_loop(dataset, flat):
    data = PreparedDataset.open(dataset)
    names = [name for name in pd.read_parquet(flat / "train.parquet").columns if name != "click"]
    training = flat_rows(data, "train", names)
    seen = {name: sorted({row[name] for row in training}) for name in names}
    codes = {name: {value: i + 1 for i, value in enumerate(values)} for name, values in seen.items()}
    for split, file in (("train", "train"), ("validation", "valid"), ("test", "test")):
        rows = flat_rows(data, split, names)
        expected = [{**{name: codes[name].get(row[name], 0) for name in names}, "click": row["click"]} for row in rows]
        assert pd.read_parquet(flat / f"{file}.parquet").to_dict("records") == expected
    assert any(name not in ("user_id", "item_id") for name in names)


def test_a_table_has_a_row_for_each_code(flat):
    described = json.loads((flat / FEATURE_MAP).read_text())
    training = pd.read_parquet(flat / "train.parquet")
    sizes = {name: spec["vocab_size"] for feature in described["features"] for name, spec in feature.items()}
    assert sizes == {name: training[name].max() + 1 for name in training.columns if name != "click"}
    assert described["labels"] == ["click"]


def test_both_sides_see_the_rows_in_one_order_of_their_own():
    values = torch.arange(20).view(10, 2)
    first, second = (list(Rows(values, ["x", "y"], 4, seed=3)) for _ in range(2))
    assert [batch["x"].tolist() for batch in first] == [batch["x"].tolist() for batch in second]
    assert sorted(x for batch in first for x in batch["x"].tolist()) == values[:, 0].tolist()
    assert all(torch.equal(batch["y"], batch["x"] + 1) for batch in first)
    epochs = Rows(values, ["x", "y"], 10, seed=3)
    assert next(iter(epochs))["x"].tolist() != next(iter(epochs))["x"].tolist()
    assert [len(batch["x"]) for batch in Rows(values, ["x", "y"], 4)] == [4, 4, 2]
    assert next(iter(Rows(values, ["x", "y"], 10)))["x"].tolist() == values[:, 0].tolist()


def test_a_form_in_anothers_place_reads_flat_and_stacked_vectors_and_keeps_the_tail():
    form, tail = build_interaction("dot", FieldShape(0, 3, 4)), nn.Linear(3, 1)
    vectors_NFD = torch.randn(5, 3, 4)
    products = torch.stack([(vectors_NFD[:, i] * vectors_NFD[:, j]).sum(1) for i, j in ((0, 1), (0, 2), (1, 2))], dim=1)
    in_place = InPlace(form, 3, skipped=12, tail=None)
    assert torch.allclose(in_place(vectors_NFD.flatten(1)), products, atol=1e-6)
    assert torch.equal(InPlace(form, 3, skipped=12, tail=tail)(vectors_NFD, None), tail(in_place(vectors_NFD)))
    assert in_place(vectors_NFD[:1]).shape == (1, 3)


class Squeezing(nn.Module):
    """Loses the batch's dimension where it is 1, unless `keeps`."""

    def __init__(self, keeps):
        super().__init__()
        self.keeps, self.table = keeps, nn.Embedding(4, 1)

    def forward(self, batch):
        y = self.table(batch["x"]).sigmoid()
        return {"y_pred": y if self.keeps else y.squeeze()}

    def train_step(self, batch):
        nn.functional.binary_cross_entropy(self(batch)["y_pred"], torch.ones(len(batch["x"]), 1))


def test_a_batch_of_one_that_fails_is_told():
    batch = {"x": torch.tensor([1, 2])}
    assert one_row(Squeezing(keeps=True), batch) == "nothing"
    assert one_row(Squeezing(keeps=False), batch) == "ValueError in training"


def test_figures_of_other_settings_are_not_kept(tmp_path):
    values = {"fuxictr": "a", "budget": {"hidden": (1, 2)}}
    kept = {"dot": {"pair": {}, "seeds": {}}}
    (tmp_path / "report.json").write_text(json.dumps({**values, "rows": kept}))
    assert rows_so_far(tmp_path / "none.json", values) == {}
    assert rows_so_far(tmp_path / "report.json", values | {"fuxictr": "b"}) == {}
    assert rows_so_far(tmp_path / "report.json", values) == {}


def test_what_is_no_clone_is_refused_in_one_sentence(tmp_path, flat):
    with pytest.raises(UserError, match=r"fuxictr of .* can't be imported: No module named 'fuxictr'"):
        FuxiCTR(tmp_path, flat, Budget())
    peer = FuxiCTR.__new__(FuxiCTR)
    peer.checkout = tmp_path
    with pytest.raises(UserError, match=r"is no clone of FuxiCTR \(git: .*\); clone it with git"):
        peer.revision()


def measured(name):
    return json.loads((ROOT / report_path(PAGE, SECTION)).read_text())["rows"][name]


@pytest.mark.parametrize("name", PAIRS)
def test_ours_computes_what_fuxictrs_does(name):
    checks = measured(name)["checks"]
    assert checks["output"] <= AS_EQUAL
    assert checks["gradient"] <= AS_EQUAL
    assert checks["ours"] == "nothing"


@pytest.mark.parametrize("name", PAIRS)
def test_from_fuxictrs_start_ours_is_as_good(name):
    """AUC within 0.0005 or better."""
    assert all(gain >= -AS_GOOD for gain in gains(measured(name), "same_start"))


@pytest.mark.parametrize("name", PAIRS)
def test_from_a_start_of_its_own_ours_is_as_good(name):
    """AUC within 0.0005 or better, as far as the seeds can tell."""
    found = gains(measured(name), "ours")
    assert len(found) >= 3
    assert statistics.mean(found) + 2 * statistics.stdev(found) / len(found) ** 0.5 >= -AS_GOOD
