"""The dense part of the sequence tower: item vectors in, H out.

events ─┐
        ├─ E + A + S + time ─ phi_in ─ DCAT ─┬─ request time ─ phi_out ─ H_TO     the state after each event
candidates ──────────────────────────────────┴─ phi_out ─ F_NO                    one feature vector per candidate
item vectors ─ psi ─ z_VO                                                         what H is compared with

T events   N candidates   V items   E width of an item vector   D width of the transformer   O out_dim
"""

import math
from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn

from pinfm.model.cold_start import ContentFusion, ItemAgeDropout, NoContent
from pinfm.model.config import MIN_TEMPERATURE, ModelConfig, TowerConfig
from pinfm.model.dcat import DCAT, Context
from pinfm.model.inputs import Candidates, History, Reads, own_histories
from pinfm.model.item_ages import PAPER, age_thresholds
from pinfm.model.layers.fusion import EarlyFusion, EarlyFusionWithToken, Fusion, LateFusion, LiteLast, LiteMean
from pinfm.model.layers.mlp import NoProjection, NormalizedMLP, projection
from pinfm.model.layers.tokens import NoRequestTime, RequestTime, TokenInput, gap_buckets
from pinfm.model.layers.transformer import Block, NoPositions, RotaryPositions
from pinfm.model.schema import InputSchema, require_content
from pinfm.model.views import newest_events

# Parts of the encoder that only candidates use, so pretraining does not reach them: names in its state dict.
FINETUNED_ONLY = ("content.", "fusion.token")


def is_pretrained(name: str) -> bool:
    """Whether a weight is one of a tower's that pretraining trains; `name` may be of a larger module."""
    _, encoder, part = name.partition("encoder.")
    return bool(encoder) and not part.startswith(FINETUNED_ONLY)


class Heads(NamedTuple):
    """What turns outputs and items into vectors that are compared.

    Args:
        phi_out: of the transformer's outputs.
        psi: of items.
        temperature: initial one of the InfoNCE losses.
    """

    phi_out: NormalizedMLP | NoProjection
    psi: NormalizedMLP | NoProjection
    temperature: float


class SequenceEncoder(nn.Module):
    """Everything of the tower but its id tables.

    Args:
        tokens: phi_in over the parts of a token.
        fusion: holds the transformer and says how candidates meet the history.
        content: adds content vectors to candidates.
        age_dropout: on the candidates' features.
        request_time: RequestTime or NoRequestTime, on the states.
        heads: phi_out, psi and the temperature between them.
    """

    def __init__(
        self,
        *,
        tokens: TokenInput,
        fusion: Fusion,
        content: ContentFusion | NoContent,
        age_dropout: ItemAgeDropout,
        request_time: nn.Module,
        heads: Heads,
    ) -> None:
        super().__init__()
        self.tokens = tokens
        self.fusion = fusion
        self.content = content
        self.age_dropout = age_dropout
        self.request_time = request_time
        self.phi_out, self.psi = heads.phi_out, heads.psi
        self.log_temperature = nn.Parameter(torch.tensor(math.log(heads.temperature)))

    def encode_context(self, history: History, item_TE: Tensor) -> Context:
        """Encodes the histories once.

        Args:
            history: T events of U requests.
            item_TE: their item vectors.
        """
        tokens_TD = self.tokens.events(history, item_TE)
        return self.fusion.encode(tokens_TD, history.lengths)

    def cross(
        self,
        context: Context,
        history: History,
        candidates: Candidates,
        item_NE: Tensor,
        reads: Optional[Reads] = None,  # noqa: UP045
    ) -> Tensor:
        """The candidates' features against encoded histories.

        Args:
            context: from `encode_context`.
            history: the same histories; their newest timestamp dates the candidates' tokens.
            candidates: N candidates of the same U requests.
            item_NE: their item vectors.
            reads: where requests share histories; None where each has its own.

        Returns:
            (N, O).
        """
        if reads is None:
            reads = own_histories(history.lengths)
        item_NE = self.content(item_NE, candidates.content)
        tokens_ND = self.tokens.candidates(history, reads, candidates, item_NE)
        features_NO = self.phi_out(self.fusion(context, reads, tokens_ND, candidates.lengths))
        owner_N = torch.repeat_interleave(candidates.lengths)
        age_N = candidates.request_timestamp[owner_N] - candidates.created_at
        kept_NO: Tensor = self.age_dropout(features_NO, age_N)
        return kept_NO

    def states(self, context: Context, gap_T: Tensor) -> Tensor:
        """H, the tower's state after each event.

        Args:
            context: from `encode_context`.
            gap_T: bucket of the time from each event to the request, as from `gaps_to_next`; not read unless the tower
                is told the request's time.

        Returns:
            (T, O); each of length 1, but for tied heads.
        """
        states_TO: Tensor = self.phi_out(self.request_time(self.fusion.outputs(context), gap_T))
        return states_TO

    def states_at(self, context: Context, gap_M: Tensor, rows_M: Tensor) -> Tensor:
        """`states` after some events alone.

        Args:
            context: from `encode_context`.
            gap_M: as in `states`, of these events.
            rows_M: int64, ascending rows among all events.

        Returns:
            (M, O).
        """
        states_MO: Tensor = self.phi_out(self.request_time(self.fusion.outputs_at(context, rows_M), gap_M))
        return states_MO

    def newest_states(self, context: Context, history: History, request_timestamp_U: Tensor) -> Tensor:
        """H after the newest event of each history, told when its request is made: what retrieval compares with psi.

        Args:
            context: from `encode_context`.
            history: the same T events of U requests.
            request_timestamp_U: int64, Unix seconds; not read unless the tower is told the request's time.

        Returns:
            (U, O); zeros for an empty history, after which there is no state.
        """
        users_M = torch.nonzero(history.lengths)[:, 0]
        rows_M = newest_events(history.lengths)[users_M]
        gap_M = gap_buckets(request_timestamp_U[users_M] - history.timestamp[rows_M])
        states_MO = self.states_at(context, gap_M, rows_M)
        states_UO = torch.zeros(
            [history.lengths.size(0), states_MO.size(1)], dtype=states_MO.dtype, device=states_MO.device
        )
        return states_UO.index_copy(0, users_M, states_MO)

    def temperature(self) -> Tensor:
        """The learnt temperature."""
        return self.log_temperature.exp().clamp(min=MIN_TEMPERATURE)


def build_encoder(config: ModelConfig, schema: InputSchema, item_dim: int) -> SequenceEncoder:
    """The encoder that a config describes.

    Args:
        config: the model's settings.
        schema: vocabularies and content width.
        item_dim: E, the width of an item's vector.

    Raises:
        UserError: content fusion without content vectors.
    """
    tower, cold = config.tower, config.cold_start
    if cold.content_fusion:
        require_content("cold_start.content_fusion", schema)
    # A run is told those of its dataset; one of before had the paper's.
    thresholds = age_thresholds("cold_start.item_age_thresholds", cold.item_age_thresholds or PAPER)
    dcat = build_dcat(tower)
    return SequenceEncoder(
        tokens=TokenInput(
            item_dim=item_dim,
            num_actions=len(schema.actions),
            num_surfaces=len(schema.surfaces),
            tower=tower,
        ),
        fusion=_fusion(config, dcat),
        content=ContentFusion(schema.content_dim, item_dim) if cold.content_fusion else NoContent(),
        age_dropout=ItemAgeDropout(cold.dropout_young, cold.dropout_middle, thresholds),
        request_time=RequestTime(tower.dim) if tower.request_time else NoRequestTime(),
        heads=Heads(
            phi_out=projection(tower.heads, tower.dim, tower.out_dim),
            psi=projection(tower.heads, item_dim, tower.out_dim),
            temperature=tower.initial_temperature,
        ),
    )


def build_dcat(tower: TowerConfig) -> DCAT:
    """The transformer that a config describes."""
    positions = RotaryPositions if tower.positions == "rotary" else NoPositions
    blocks = [
        Block(tower.dim, tower.num_heads, tower.dropout, tower.mlp, tower.attention_gate)
        for _ in range(tower.num_layers)
    ]
    return DCAT(blocks, positions(tower.dim // tower.num_heads), tower.dim)


def _fusion(config: ModelConfig, dcat: DCAT) -> Fusion:
    if config.tower.fusion == "lite_mean":
        return LateFusion(dcat, LiteMean())
    if config.tower.fusion == "lite_last":
        return LateFusion(dcat, LiteLast())
    if config.cold_start.learnable_token:
        return EarlyFusionWithToken(dcat, config.tower.dim)
    return EarlyFusion(dcat)
