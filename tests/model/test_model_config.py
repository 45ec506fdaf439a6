"""Settings that are refused, each in a sentence that names the field, and the schema's JSON form."""

import json
from dataclasses import asdict

import pytest
from model_fakes import schema

from pinfm.embeddings.errors import UserError
from pinfm.model.config import ColdStartConfig, ModelConfig, RankerConfig, TowerConfig
from pinfm.model.schema import Feature, schema_from_json


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"num_layers": 0}, r"^tower\.num_layers \(0\) must be at least 1\.$"),
        (
            {"num_heads": 3},
            r"^tower\.num_heads \(3\) must divide tower\.dim \(64\) into heads of an even width; "
            r"try 1 or 2 or 4 or 8 or 16\.$",
        ),
        ({"num_heads": 0}, r"tower\.num_heads \(0\) must divide"),
        ({"dim": 20, "num_heads": 4}, r"tower\.num_heads \(4\) must divide tower\.dim \(20\).* try 1 or 2\.$"),
        ({"dim": 7, "num_heads": 1}, r"tower\.dim \(7\) into heads of an even width; try an even dim\.$"),
        ({"dim": 0}, r"^tower\.dim \(0\) must be at least 1\.$"),
        ({"out_dim": 0}, r"^tower\.out_dim \(0\) must be at least 1\.$"),
        ({"dropout": 1.0}, r"^tower\.dropout \(1\.0\) must lie in \[0, 1\)\.$"),
        ({"dropout": -0.1}, r"^tower\.dropout \(-0\.1\) must lie in \[0, 1\)\.$"),
        ({"dropout": float("nan")}, r"^tower\.dropout \(nan\) must be a finite number\.$"),
        (
            {"heads": "tied", "dim": 16, "out_dim": 32},
            r"^tower\.heads tied .* tower\.out_dim \(32\) must be tower\.dim \(16\)\.$",
        ),
        ({"temperature": 0.0}, r"^tower\.temperature \(0\.0\) must be above 0\.01, its lower bound\.$"),
        ({"temperature": 0.01}, r"^tower\.temperature \(0\.01\) must be above 0\.01"),
    ],
)
def test_tower_settings_are_checked(values, sentence):
    with pytest.raises(UserError, match=sentence):
        TowerConfig(**values)


@pytest.mark.parametrize("field", ["candidate_id_randomization", "dropout_young", "dropout_middle"])
@pytest.mark.parametrize("value", [1.0, -0.5])
def test_cold_start_probabilities_are_checked(field, value):
    with pytest.raises(UserError, match=rf"^cold_start\.{field} \({value}\) must lie in \[0, 1\)\.$"):
        ColdStartConfig(**{field: value})


def test_ages_are_two_that_ascend():
    with pytest.raises(
        UserError, match=r"^cold_start\.item_age_thresholds \(\[4h, 1h\]\) must be two ages that ascend"
    ):
        ColdStartConfig(item_age_thresholds=("4h", "1h"))


@pytest.mark.parametrize(
    ("values", "sentence"),
    [
        ({"over_hidden": ()}, r"^ranker\.over_hidden is empty; give at least one width"),
        ({"dropout": 1.0}, r"^ranker\.dropout \(1\.0\) must lie in \[0, 1\)\.$"),
        ({"over_hidden": (8, 0)}, r"^ranker\.over_hidden \(8, 0\) must hold widths of at least 1\.$"),
        ({"dense_hidden": (-4,)}, r"^ranker\.dense_hidden \(-4,\) must hold widths of at least 1\.$"),
    ],
)
def test_ranker_settings_are_checked(values, sentence):
    with pytest.raises(UserError, match=sentence):
        RankerConfig(**values)


@pytest.mark.parametrize("fusion", ["lite_mean", "lite_last"])
@pytest.mark.parametrize("technique", ["content_fusion", "learnable_token"])
def test_late_fusion_has_no_candidate_token_to_change(fusion, technique):
    with pytest.raises(UserError, match=rf"^tower\.fusion is '{fusion}', which has no candidate token; switch"):
        ModelConfig(tower=TowerConfig(fusion=fusion), cold_start=ColdStartConfig(**{technique: True}))


def test_edges_that_are_legal():
    TowerConfig(num_layers=1, dim=2, num_heads=1, out_dim=1, dropout=0.0)
    ColdStartConfig(candidate_id_randomization=0.0, dropout_young=0.99)
    RankerConfig(dense_hidden=(), over_hidden=(1,), dropout=0.0)
    ModelConfig(cold_start=ColdStartConfig(content_fusion=True, learnable_token=True))


def test_schemas_come_back_from_json():
    original = schema(content_dim=3)
    assert schema_from_json(json.loads(json.dumps(asdict(original)))) == original


def test_schemas_code_names_from_one():
    assert schema().positive_codes() == [2, 1]
    assert [f.name for f in schema().of("dense", "request")] == ["age"]
    assert [f.name for f in schema().of("categorical", "candidate")] == ["author"]


@pytest.mark.parametrize(
    "name", ["item", "user_id", "request_timestamp", "history_length", "candidate_price", "a b", ""]
)
def test_a_feature_takes_no_name_of_ours(name):
    with pytest.raises(UserError, match=r"feature name .* must not be user_id, request_timestamp, item, history_\*"):
        Feature(name=name, kind="dense", scope="request")
