"""What benchmarks/movielens.py compares: the published figures, and one row for each setting of ours."""

from dataclasses import dataclass

from benchmarks.parts.quality.runs import edition

RECIPE = "ml1m"


@dataclass(frozen=True, kw_only=True)
class Row:
    """One setting.

    Args:
        name: in the table and of the run's folder.
        told: what it is, for the reader of the table.
        flags: of `pinfm pretrain --config ml1m`.
        trains_on_validation: train on everything but the test item; the length is then that of another row.
        request_time: whether its tower can be told the target's time.
        max_history: newest events read in evaluation.
    """

    name: str
    told: str
    flags: tuple[str, ...] = ()
    trains_on_validation: bool = False
    request_time: bool = True
    max_history: int = 200

    def settings(self) -> list[str]:
        """What its figures depend on, beside the data."""
        return [edition(RECIPE), *self.flags, *(["--trains_on_validation"] if self.trains_on_validation else [])]


# Leave-one-out on the same 3,416 films with at least five ratings, full catalogue, seen items removed.
PUBLISHED = (
    ("SASRec, BCE", 0.2392, 0.1259, "same protocol (gSASRec's re-run)"),
    ("gSASRec", 0.3003, 0.1726, "same protocol"),
    ("eSASRec", 0.3133, 0.1772, "same protocol"),
    ("SASRec, full softmax", 0.3152, 0.1821, "same protocol"),
    ("FuXi-alpha", 0.3164, 0.1813, "same protocol"),
    ("HSTU-large (generative-recommenders)", 0.3294, 0.1893, "other sort of equal times; sees the target's time"),
    ("HSTU-large (RecTools)", 0.3642, 0.2164, "sees the target's time"),
)

SHORT = ("--pretrain.epochs", "6")
GATE = ("--tower.attention_gate", "true")
WIDE = ("--tower.dim", "256", "--tower.num_heads", "8", "--tower.dropout", "0.4")


def _rows() -> tuple[Row, ...]:
    def short(name: str, told: str, *flags: str, request_time: bool = True) -> Row:
        return Row(name=name, told=f"{told}; 6 epochs", flags=(*SHORT, *flags), request_time=request_time)

    return (
        Row(name="base", told="the recipe ml1m"),
        Row(name="gate", told="the recipe, attention gated as in HSTU", flags=GATE),
        Row(
            name="with_validation",
            told="the recipe, trained on the validation items too; the last checkpoint",
            trains_on_validation=True,
        ),
        short("short", "the recipe"),
        short("no_time", "no time gaps", "--tower.time", "none"),
        short("no_positions", "no rotary positions", "--tower.positions", "none"),
        short("no_request_time", "never told the target's time", "--tower.request_time", "false", request_time=False),
        short("gelu", "GPT-2's pointwise half", "--tower.mlp", "gelu"),
        short("attention_gate", "attention gated as in HSTU", *GATE),
        short("wide", "twice the width, dropout 0.4", *WIDE),
        Row(
            name="long",
            told="histories of 400; 6 epochs",
            flags=(*SHORT, "--max_history", "400", "--pretrain.segment_length", "400"),
            max_history=400,
        ),
        short("multi_token", "+ multi-token loss", "--pretrain.multi_token_weight", "1"),
        short(
            "future_token",
            "+ multi-token and future-token losses",
            *("--pretrain.multi_token_weight", "1", "--pretrain.future_token_weight", "1"),
        ),
        # The losses are means. At 0.036, future-token pairs per next-token pair here, one counts as much as the other.
        short(
            "future_token_pairs",
            "the same, a future pair counting like a next one",
            *("--pretrain.multi_token_weight", "1", "--pretrain.future_token_weight", "0.036"),
        ),
        short("in_batch", "in-batch negatives", "--pretrain.negatives", "in_batch"),
        short("in_batch_log_q", "in-batch, log-Q", "--pretrain.negatives", "in_batch", "--pretrain.log_q", "true"),
        short("sampled", "1,024 sampled negatives", "--pretrain.negatives", "sampled"),
        short("one_row", "one hash of width 128", "--item_table.num_hashes", "1", "--item_table.dim", "128"),
    )


ROWS = {row.name: row for row in _rows()}
