"""Settings of runs that earlier versions made."""

import json
from dataclasses import asdict

import pytest
import runs

from pinfm.model.config import ColdStartConfig, RankerConfig
from pinfm.model.stored.older import cold_start_of_today, ranker_of_today
from pinfm.model.stored.run_folder import model_config_from_json
from pinfm.train.cli.run_flags import config_from_manifest


@pytest.mark.parametrize(
    ("older", "interaction"),
    [
        ({"interaction": "dcn_v2", "cross_layers": 2, "cross_rank": 64}, "dcn_v2"),
        ({"interaction": "dot", "cross_layers": 3, "cross_rank": 64}, "dot"),
        (
            {"interaction": "dcn_v2", "cross_layers": 3, "cross_rank": 8},
            {"parallel": ["input", {"form": "dcn_v2_low_rank", "layers": 3, "rank": 8}]},
        ),
        ({"interaction": "dcn_v2", "cross_layers": 0, "cross_rank": 8}, {"parallel": ["input", "input"]}),
    ],
)
def test_the_settings_of_cross_layers_move_into_the_interaction(older, interaction):
    assert RankerConfig(**ranker_of_today({**older, "dropout": 0.5})) == RankerConfig(
        interaction=interaction, dropout=0.5
    )
    values = asdict(runs.CONFIG)
    values["ranker"] = {"dropout": 0.5, **older}
    assert config_from_manifest(values).ranker.interaction == interaction


def test_settings_of_today_stay():
    today = asdict(RankerConfig(interaction={"form": "dcn_v2_low_rank", "layers": 2, "rank": 3}))
    assert ranker_of_today(today) == today


def test_dropouts_of_days_are_those_of_young_and_middle_aged_items():
    values = json.loads(json.dumps(asdict(runs.CONFIG)))
    values["cold_start"] = {"dropout_under_7_days": 0.6, "dropout_7_to_28_days": 0.4, "learnable_token": True}
    today = ColdStartConfig(dropout_young=0.6, dropout_middle=0.4, learnable_token=True)
    assert config_from_manifest(values).cold_start == model_config_from_json(values).cold_start == today
    of_today = asdict(ColdStartConfig(item_age_thresholds=("1h", "4h")))
    assert cold_start_of_today(of_today) == of_today
