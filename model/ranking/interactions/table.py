"""The forms of interaction by name: what they are built from, and the settings that each reads.

A new form is a file of its own and a line in FORMS. Nothing here needs torch: the command line reads it to tell a wrong
name at once.
"""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Literal, NamedTuple


class FormEntry(NamedTuple):
    """One form.

    Args:
        path: its class, as file.Class in `forms/`; called with the shape of its input and the settings.
        settings: the settings that it reads, with their defaults.
    """

    path: str
    settings: Mapping[str, int | float]


def form(path: str, **settings: int | float) -> FormEntry:
    """An entry of FORMS."""
    return FormEntry(path, settings)


FORMS = {
    "input": form("input.Input"),
    "dot": form("dot.DotInteraction"),
    "autoint": form("autoint.AutoInt", layers=2, heads=2),
    "transformer": form("transformer.Transformer", layers=2, heads=2),
    "cin": form("cin.CompressedInteraction", layers=2, maps=32),
    "final_mlp": form("final_mlp.FinalMLP", width=256, heads=2),
    "dcn_v2_full_rank": form("cross.FullRankCross", layers=4),
    "dcn_v2_low_rank": form("low_rank_cross.LowRankCross", layers=2, rank=64),
    "dcn_v2_mixture": form("mixture_cross.MixtureCross", layers=2, rank=32, experts=4),
    "dhen": form("dhen.Dhen", layers=2, vectors=8),
    "wukong": form("wukong.Wukong", layers=2, rank=8, vectors=16, width=512),
    "rank_mixer": form("rank_mixer.RankMixer", layers=2, tokens=8, width=128, projection_ratio=2.0),
    "mask_net_parallel": form("mask_net.MaskNetParallel", blocks=3, width=512, projection_ratio=2.0),
    "mask_net_serial": form("mask_net.MaskNetSerial", blocks=3, width=512, projection_ratio=2.0),
    "gdcn": form("gdcn.GatedCross", layers=3),
}

# What arXiv 2412.01985 ends with before its DCNv2 layers.
_PINTEREST_MASKS = {"form": "mask_net_parallel", "blocks": 3, "width": 512, "projection_ratio": 2.0}

# Names for what is put together of forms, in the words of a recipe.
COMPOSITIONS: dict[str, Any] = {
    # Stacked low-rank DCNv2, its output beside its input.
    "dcn_v2": {"parallel": ["input", "dcn_v2_low_rank"]},
    # The baseline of arXiv 2412.01985: four stacked full-rank layers, their output beside their input.
    "pinterest_baseline": {"parallel": ["input", {"form": "dcn_v2_full_rank", "layers": 4}]},
    # Its final form: three parallel MaskNets, then four stacked layers of DCNv2, nothing beside them. It does not say
    # of which rank. Full rank on the 3 * 512 numbers costs 9.4 million multiplications a candidate; rank 64 costs 0.8.
    # The smaller MLP behind it is the ranker's own: `ranker.over_hidden`.
    "pinterest": {"stacked": [_PINTEREST_MASKS, {"form": "dcn_v2_low_rank", "layers": 4, "rank": 64}]},
    "pinterest_full_rank": {"stacked": [_PINTEREST_MASKS, {"form": "dcn_v2_full_rank", "layers": 4}]},
}

if TYPE_CHECKING:
    InteractionName = str
else:  # what the tables hold, so that a new form is named in one place
    InteractionName = Literal[(*FORMS, *COMPOSITIONS)]
