"""The model's settings. Defaults are small; `train/recipes/` holds the shipped ones."""

from dataclasses import dataclass, field
from typing import Any, Literal

from pinfm.embeddings.errors import UserError, require_at_least, require_at_most, require_types
from pinfm.model.item_ages import age_thresholds
from pinfm.model.ranking.interactions.settings import interaction_plan

FeedForward = Literal["gelu", "swiglu"]
TimeInput = Literal["gap", "none"]
Projections = Literal["normalized_mlp", "tied"]

# The learnt temperature is kept above this, so that the logits stay in float range.
MIN_TEMPERATURE = 0.01


# Of a layer, and layers: beyond it no weight matrix has a place in memory.
MOST_WIDE = 1 << 16


@dataclass(frozen=True, kw_only=True)
class TowerConfig:
    """The sequence tower.

    Args:
        num_layers: transformer blocks.
        dim: width of the transformer.
        num_heads: attention heads.
        out_dim: width of H, of psi and of the features that a ranker gets.
        dropout: in the blocks.
        token_dropout: on the blocks' input.
        mlp: the blocks' pointwise half: GPT-2's, or the gated one of Shazeer (2020).
        attention_gate: the blocks gate their attention's output, as HSTU does.
        positions: how order enters the attention.
        time: what a token knows of time: the gap to the event before, or nothing.
        request_time: the states H can be told when the request is made; for retrieval at a known time.
        heads: what stands between item vectors and the transformer. `normalized_mlp`: phi_in, phi_out and psi of the
            paper. `tied`: nothing; tokens are item vectors, and states are compared with item vectors by their inner
            product, as in SASRec (Kang and McAuley, 2018). An item's vector then has `dim` columns, as `out_dim` has.
        fusion: how candidates meet the history. `early`: the candidate is the last token; `lite_mean` and
            `lite_last`: the history alone, mean or last output.
        temperature: initial temperature of the InfoNCE losses; learnt from there. None is 0.1 between vectors of length
            1, and 1 for tied heads.
    """

    num_layers: int = 2
    dim: int = 64
    num_heads: int = 2
    out_dim: int = 64
    dropout: float = 0.1
    token_dropout: float = 0.0
    mlp: FeedForward = "gelu"
    attention_gate: bool = False
    positions: Literal["rotary", "none"] = "rotary"
    time: TimeInput = "gap"
    request_time: bool = False
    heads: Projections = "normalized_mlp"
    fusion: Literal["early", "lite_mean", "lite_last"] = "early"
    temperature: float | None = None

    def __post_init__(self) -> None:
        require_types("tower", self)
        require_at_most("tower", MOST_WIDE, num_layers=self.num_layers, dim=self.dim, out_dim=self.out_dim)
        require_at_least("tower", 1, num_layers=self.num_layers, dim=self.dim, out_dim=self.out_dim)
        if self.num_heads < 1 or self.dim % (2 * self.num_heads):
            raise UserError(
                f"tower.num_heads ({self.num_heads}) must divide tower.dim ({self.dim}) into heads of an even width; "
                f"try {_heads_that_fit(self.dim)}."
            )
        if self.heads == "tied" and self.out_dim != self.dim:
            raise UserError(
                f"tower.heads tied compares the transformer's states with items as they are, so tower.out_dim "
                f"({self.out_dim}) must be tower.dim ({self.dim})."
            )
        for name in ("dropout", "token_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"tower.{name} ({getattr(self, name)}) must lie in [0, 1).")
        if not self.initial_temperature > MIN_TEMPERATURE:
            raise UserError(f"tower.temperature ({self.temperature}) must be above {MIN_TEMPERATURE}, its lower bound.")

    @property
    def initial_temperature(self) -> float:
        """Of the InfoNCE losses."""
        if self.temperature is not None:
            return self.temperature
        return 1.0 if self.heads == "tied" else 0.1


@dataclass(frozen=True, kw_only=True)
class ColdStartConfig:
    """What makes new items work; see `model/cold_start.py`.

    Args:
        candidate_id_randomization: probability that a candidate's id is replaced by a random one in fine-tuning;
            0.1 in the paper.
        dropout_young: dropout on the tower's output for young items; 0.7 in the paper.
        dropout_middle: the same for middle-aged items; 0.5 in the paper.
        item_age_thresholds: two ages, such as `[1h, 4h]`: an item is young below the first and old from the second on;
            empty for those of the dataset.
        content_fusion: add the projected content vector to the candidate's token.
        alignment_weight: weight of the loss that pulls that projection to the id's place in the input space.
        learnable_token: put one learnable token between history and candidate.
    """

    candidate_id_randomization: float = 0.1
    dropout_young: float = 0.7
    dropout_middle: float = 0.5
    item_age_thresholds: tuple[str, ...] = ()
    content_fusion: bool = False
    alignment_weight: float = 0.1
    learnable_token: bool = False

    def __post_init__(self) -> None:
        require_types("cold_start", self)
        for name in ("candidate_id_randomization", "dropout_young", "dropout_middle"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UserError(f"cold_start.{name} ({getattr(self, name)}) must lie in [0, 1).")
        require_at_least("cold_start", 0, alignment_weight=self.alignment_weight)
        if self.item_age_thresholds:
            age_thresholds("cold_start.item_age_thresholds", self.item_age_thresholds)


@dataclass(frozen=True, kw_only=True)
class RankerConfig:
    """The DLRM-style ranker.

    Args:
        interaction: how feature vectors meet: a name, a form with settings of its own, `{stacked: [...]}` or
            `{parallel: [...]}`; see `model/ranking/interactions/`.
        dense_hidden: hidden widths of DenseArch.
        over_hidden: hidden widths of OverArch.
        dropout: in OverArch.
        history_counts: dense features of the request counted in its history; see `model/ranking/history_counts.py`.
        content_vector: the candidate's content vector is an embedding feature, as its id vector and the tower's output
            are; the items need one.
        tower_path: the tower's own predictions are added to the ranker's logits, which learn what they lack. From a
            pretraining run with a next-action loss they begin as what it says of the actions that have a task's name.
    """

    interaction: str | dict[str, Any] = "dcn_v2"
    dense_hidden: tuple[int, ...] = (64,)
    over_hidden: tuple[int, ...] = (256, 128)
    dropout: float = 0.1
    history_counts: bool = False
    content_vector: bool = False
    tower_path: bool = False

    def __post_init__(self) -> None:
        require_types("ranker", self)
        interaction_plan(self.interaction)
        if not self.over_hidden:
            raise UserError("ranker.over_hidden is empty; give at least one width, such as [256, 128].")
        for name in ("dense_hidden", "over_hidden"):
            if any(width < 1 for width in getattr(self, name)):
                raise UserError(f"ranker.{name} {getattr(self, name)} must hold widths of at least 1.")
        if not 0.0 <= self.dropout < 1.0:
            raise UserError(f"ranker.dropout ({self.dropout}) must lie in [0, 1).")


@dataclass(frozen=True, kw_only=True)
class ModelConfig:
    """Everything that the dense part of a model is built from.

    Args:
        tower: the sequence tower.
        cold_start: its cold-start techniques.
        ranker: the ranker.
        use_tower: false builds the same ranker without the tower, to compare against.
    """

    tower: TowerConfig = field(default_factory=TowerConfig)
    cold_start: ColdStartConfig = field(default_factory=ColdStartConfig)
    ranker: RankerConfig = field(default_factory=RankerConfig)
    use_tower: bool = True

    def __post_init__(self) -> None:
        require_types("", self)
        if self.tower.fusion != "early" and (self.cold_start.content_fusion or self.cold_start.learnable_token):
            raise UserError(
                f"tower.fusion is {self.tower.fusion!r}, which has no candidate token; "
                "switch cold_start.content_fusion and cold_start.learnable_token off, or take fusion `early`."
            )


def _heads_that_fit(dim: int) -> str:
    fitting = [str(heads) for heads in (1, 2, 4, 8, 16) if dim % (2 * heads) == 0]
    return " or ".join(fitting) if fitting else "an even dim"
