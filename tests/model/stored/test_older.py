"""Settings of runs that earlier versions made."""

from dataclasses import asdict

import pytest
import runs

from pinfm.model.config import RankerConfig
from pinfm.model.stored.older import ranker_of_today
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
