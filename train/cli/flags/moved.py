"""Settings that stood elsewhere in earlier versions."""

from pinfm.model.stored.older import DROPOUTS

_CROSSES = "ranker.interaction: {parallel: [input, {form: dcn_v2_low_rank, layers: 2, rank: 64}]}"
MOVED = {
    "cross_layers": _CROSSES,
    "cross_rank": _CROSSES,
    **{older: f"cold_start.{today}" for older, today in DROPOUTS.items()},
}


def moved(sentence: str) -> str:
    """Where a setting that the sentence names stands now, with a space behind it; empty where it names none."""
    for name, today in MOVED.items():
        if name in sentence:
            return f"{name} is now set in `{today}`. "
    return ""
