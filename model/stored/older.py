"""Settings as earlier versions wrote them, in the words of this one."""

from collections.abc import Mapping
from typing import Any

# What stood beside `ranker.interaction` when it knew two forms, with the defaults of then.
CROSS_LAYERS, CROSS_RANK = ("cross_layers", 2), ("cross_rank", 64)


def ranker_of_today(ranker: Mapping[str, Any]) -> dict[str, Any]:
    """A ranker's settings with those of DCNv2 where they are read now.

    Args:
        ranker: `ranker` of a run's settings.
    """
    today = dict(ranker)
    layers, rank = today.pop(*CROSS_LAYERS), today.pop(*CROSS_RANK)
    if today.get("interaction") == "dcn_v2" and (layers, rank) != (CROSS_LAYERS[1], CROSS_RANK[1]):
        crosses = {"form": "dcn_v2_low_rank", "layers": layers, "rank": rank} if layers else "input"
        today["interaction"] = {"parallel": ["input", crosses]}
    return today


# What item-age dropout was called when its thresholds were the paper's.
DROPOUTS = {"dropout_under_7_days": "dropout_young", "dropout_7_to_28_days": "dropout_middle"}


def cold_start_of_today(cold_start: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of cold start under the names that they have now.

    Args:
        cold_start: `cold_start` of a run's settings.
    """
    return {DROPOUTS.get(name, name): value for name, value in cold_start.items()}
