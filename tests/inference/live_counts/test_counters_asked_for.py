"""The signature says which counters a request must bring."""

import json

import pandas as pd
import pytest
from counting_models import model_of, schema_with, write_model

from pinfm.embeddings.errors import UserError
from pinfm.inference import LiveCounts
from pinfm.inference.signature import Signature
from pinfm.model.live_counts import LiveCountsSpec

SPEC = LiveCountsSpec(
    of=("item", "user.shop"), kinds=("impression", "click"), label_delay_seconds=60, rates={"click": 0.25}
)


def test_the_signature_tells_what_is_counted(tmp_path):
    model = model_of(tmp_path / "model", SPEC, {"item_id": "text"})
    written = json.loads((model / "signature.json").read_text())["live_counts"]
    assert written == {
        "of": ["item", "user.shop"],
        "kinds": ["impression", "click"],
        "windows": ["1h", "6h", "1d", "7d", "all"],
        "label_delay_seconds": 60,
        "rates": {"click": 0.25},
    }
    signature = Signature.read(model)
    assert signature == Signature.of(schema_with(SPEC, {"item_id": "text"}), 8, 0)
    assert signature.live_counts == SPEC
    assert [column.name for column in signature.columns if column.dtype == "float32"] == list(SPEC.names())


def test_counters_are_made_for_a_model(tmp_path):
    counts = LiveCounts.of(model_of(tmp_path / "model", SPEC, {"item_id": "text", "user_id": "uint64"}), max_keys=5)
    assert (counts.spec, counts.max_keys) == (SPEC, 5)
    marks = {"timestamp": [7], "item_id": ["B00"], "user_id": [2**64 - 1], "shop": [3], "kind": ["click"]}
    counts.add(pd.DataFrame(marks))
    found = counts.at(8, ["B00", "B01"], 2**64 - 1, {"shop": [3, 3]})
    assert found["item_click_1h"].tolist() == [1, 0]
    assert found["user_shop_click_1h"].tolist() == [1, 1]


@pytest.mark.parametrize("age", ["none", "older"])
def test_a_model_without_counters_has_none(tmp_path, age):
    model = model_of(tmp_path / "model", None)
    if age == "older":
        signature = json.loads((model / "signature.json").read_text())
        del signature["live_counts"]
        model = write_model(tmp_path / "older", signature)
    assert Signature.read(model).live_counts is None
    with pytest.raises(UserError, match="asks for no live counts; train it on a dataset of `prepare --live-counts`"):
        LiveCounts.of(model)


def test_a_folder_that_holds_no_model_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"is not a model folder: it has no scoring\.pt"):
        LiveCounts.of(tmp_path)
