"""The models that are trained on impressions: the ranker alone, or the tower fused into it.

Both take already looked-up vectors and return the same outputs, so that training (sharded tables) and serving (local
tables) run one dense module.
"""

from typing import NamedTuple, Optional

import torch
from torch import Tensor, nn

from pinfm.model.config import ModelConfig
from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder, build_encoder
from pinfm.model.inputs import Candidates, History, Reads, own_histories
from pinfm.model.ranking.content_vector import ContentVector, NoContentVector
from pinfm.model.ranking.history_counts import HistoryCounts, NoHistoryCounts
from pinfm.model.ranking.ranker import Ranker, RankerFeatures, add_request_dense, build_ranker
from pinfm.model.ranking.tower_heads import AddedTowerHeads, TowerHeads
from pinfm.model.schema import InputSchema, require_content


class RankingInputs(NamedTuple):
    """What is scored: N candidates of U requests after T events, with their vectors looked up.

    Args:
        history: the events.
        candidates: the candidates of the same requests.
        item_TE: item vectors of the events; not read where the histories are encoded already.
        item_NE: item vectors of the candidates.
        features: the ranker's own features.
        reads: which part of which history each request sees.
    """

    history: History
    candidates: Candidates
    item_TE: Tensor
    item_NE: Tensor
    features: RankerFeatures
    reads: Reads


class RankingOutput(NamedTuple):
    """What a forward pass over U requests, N candidates and T events gives.

    Args:
        logits: (N, K), one column a task.
        tower_logits: (N, K), predictions from the tower's output alone; (N, 0) without a tower.
        context: the encoded histories; None without a tower.
    """

    logits: Tensor
    tower_logits: Tensor
    context: Optional[Context]  # noqa: UP045


class FusedRanker(nn.Module):
    """Tower and ranker: the candidate's id vector and tower output are embedding features of the ranker.

    Args:
        encoder: the tower.
        history_counts: HistoryCounts or NoHistoryCounts.
        content_vector: ContentVector or NoContentVector.
        ranker: reads [id vector, tower output, content vector].
        tower_heads: TowerHeads or AddedTowerHeads.
    """

    def __init__(
        self,
        *,
        encoder: SequenceEncoder,
        history_counts: nn.Module,
        content_vector: nn.Module,
        ranker: Ranker,
        tower_heads: TowerHeads,
    ) -> None:
        super().__init__()
        self.encoder = encoder
        self.history_counts = history_counts
        self.content_vector = content_vector
        self.ranker = ranker
        self.tower_heads = tower_heads

    def forward(self, inputs: RankingInputs) -> RankingOutput:
        """Scores candidates, with what training reads beside the scores."""
        context = self.encoder.encode_context(inputs.history, inputs.item_TE)
        logits_NK, tower_NO = self.against(context, inputs)
        return RankingOutput(logits_NK, self.tower_heads(tower_NO), context)

    def score(self, inputs: RankingInputs) -> Tensor:
        """(N, K) logits, without what only training reads."""
        return self.against(self.encoder.encode_context(inputs.history, inputs.item_TE), inputs)[0]

    def encode(self, history: History, item_TE: Tensor) -> tuple[History, Context]:
        """The histories as candidates read them, and their encoding: once a user, for both stages of a funnel."""
        return history, self.encoder.encode_context(history, item_TE)

    def score_encoded(self, context: Context, inputs: RankingInputs) -> Tensor:
        """`score` of candidates against what `encode` gave: its context, its histories in the inputs."""
        return self.against(context, inputs)[0]

    def user_vectors(self, context: Context, history: History, request_timestamp_U: Tensor) -> Tensor:
        """(U, O) that retrieval compares with items; see `SequenceEncoder.newest_states`."""
        return self.encoder.newest_states(context, history, request_timestamp_U)

    def catalogue_vectors(self, item_VE: Tensor) -> Tensor:
        """(V, O): psi of item vectors, which users' are compared with."""
        vectors_VO: Tensor = self.encoder.psi(item_VE)
        return vectors_VO

    def times_and_counts(self, history: History, request_timestamp_U: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """What of the inputs the stages on blocks (`model/padded/`) are told in place of times.

        Args:
            history: T events of U requests, each of which sees all of its own.
            request_timestamp_U: when each request was made.

        Returns:
            Buckets (T,) of the times before events and (U,) before requests, and what the ranker counts (U, M).
        """
        reads = own_histories(history.lengths)
        event_gap_T = self.encoder.tokens.event_gaps(history)
        request_gap_U = self.encoder.tokens.request_gaps(history, reads, request_timestamp_U)
        return event_gap_T, request_gap_U, self.history_counts(history, reads, request_timestamp_U)

    def against(self, context: Context, inputs: RankingInputs) -> tuple[Tensor, Tensor]:
        """Logits (N, K) and the tower's features (N, O) of candidates against encoded histories."""
        tower_NO = self.encoder.cross(context, inputs.history, inputs.candidates, inputs.item_NE, inputs.reads)
        counts_UM = self.history_counts(inputs.history, inputs.reads, inputs.candidates.request_timestamp)
        features = add_request_dense(inputs.features, counts_UM)
        embeddings = [inputs.item_NE, tower_NO]
        embeddings.extend(self.content_vector(inputs.candidates.content))
        logits_NK = self.ranker(features, inputs.candidates.lengths, embeddings) + self.tower_heads.added(tower_NO)
        return logits_NK, tower_NO


class PlainRanker(nn.Module):
    """The same ranker without the tower: the baseline that the tower has to beat.

    Args:
        history_counts: HistoryCounts or NoHistoryCounts.
        content_vector: ContentVector or NoContentVector.
        ranker: reads [id vector, content vector].
    """

    def __init__(self, history_counts: nn.Module, content_vector: nn.Module, ranker: Ranker) -> None:
        super().__init__()
        self.history_counts = history_counts
        self.content_vector = content_vector
        self.ranker = ranker

    def forward(self, inputs: RankingInputs) -> RankingOutput:
        """Scores candidates; of the history nothing is read but what can be counted."""
        logits_NK = self.score(inputs)
        return RankingOutput(logits_NK, logits_NK[:, :0], None)

    def score(self, inputs: RankingInputs) -> Tensor:
        """(N, K) logits."""
        counts_UM = self.history_counts(inputs.history, inputs.reads, inputs.candidates.request_timestamp)
        features = add_request_dense(inputs.features, counts_UM)
        embeddings = [inputs.item_NE]
        embeddings.extend(self.content_vector(inputs.candidates.content))
        logits_NK: Tensor = self.ranker(features, inputs.candidates.lengths, embeddings)
        return logits_NK

    def encode(self, history: History, item_TE: Tensor) -> tuple[History, Context]:
        """The histories as they are, of which nothing is encoded."""
        return history, Context(history.lengths, item_TE[:0], [], [])

    def score_encoded(self, context: Context, inputs: RankingInputs) -> Tensor:
        """`score`; there is no encoding."""
        return self.score(inputs)

    def user_vectors(self, context: Context, history: History, request_timestamp_U: Tensor) -> Tensor:
        """Raises ValueError: there is no tower."""
        return _no_vectors()

    def catalogue_vectors(self, item_VE: Tensor) -> Tensor:
        """Raises ValueError: there is no tower."""
        return _no_vectors()

    def times_and_counts(self, history: History, request_timestamp_U: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """See `FusedRanker`; nobody reads the buckets."""
        counts_UM = self.history_counts(history, own_histories(history.lengths), request_timestamp_U)
        return torch.zeros_like(history.action), torch.zeros_like(request_timestamp_U), counts_UM


def _no_vectors() -> Tensor:
    # Of a literal: TorchScript sees no constants of a module.
    raise ValueError(
        "the model was trained with use_tower: false, so it has no vectors by which users and items are compared; "
        "retrieve with a model that has a tower."
    )


def build_model(config: ModelConfig, schema: InputSchema, item_dim: int, feature_dim: int) -> FusedRanker | PlainRanker:
    """The joint model that a config describes.

    Args:
        config: the model's settings.
        schema: the dataset's inputs and tasks.
        item_dim: E, width of an item's vector.
        feature_dim: D, width of the vector of a categorical feature.

    Raises:
        UserError: content is wanted of items that have none.
    """
    history_counts = HistoryCounts(len(schema.actions)) if config.ranker.history_counts else NoHistoryCounts()
    content_vector: nn.Module = NoContentVector()
    content_dims = []
    if config.ranker.content_vector:
        require_content("ranker.content_vector", schema)
        content_vector, content_dims = ContentVector(), [schema.content_dim]
    if not config.use_tower:
        ranker = build_ranker(config.ranker, schema, [item_dim, *content_dims], feature_dim)
        return PlainRanker(history_counts, content_vector, ranker)
    out_dim = config.tower.out_dim
    return FusedRanker(
        encoder=build_encoder(config, schema, item_dim),
        history_counts=history_counts,
        content_vector=content_vector,
        ranker=build_ranker(config.ranker, schema, [item_dim, out_dim, *content_dims], feature_dim),
        tower_heads=(AddedTowerHeads if config.ranker.tower_path else TowerHeads)(out_dim, len(schema.tasks)),
    )
