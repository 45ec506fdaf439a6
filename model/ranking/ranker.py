"""The multi-task ranker in TorchRec's vocabulary: SparseArch and DenseArch -> InteractionArch -> OverArch.

    U  requests     N  candidates     D  width of a feature's vector     K  tasks

Request-scope features come once a request and stay so through all layers that allow it: the first layers of DenseArch,
of the interactions and of OverArch multiply them once a request (`interactions/parts/split.py`).
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinfm.model.config import RankerConfig
from pinfm.model.layers.mlp import MLP
from pinfm.model.ranking.history_counts import count_features
from pinfm.model.ranking.interactions.build import build_interaction, out_shape_of
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape
from pinfm.model.ranking.interactions.parts.split import SplitLinear
from pinfm.model.ranking.live_path import LivePath, NoLivePath
from pinfm.model.ranking.live_rates import build_live_rates, rate_features
from pinfm.model.schema import Feature, InputSchema

# Normalised dense features beyond this many standard deviations are clipped.
DENSE_CLIP = 5.0


class RankerFeatures(NamedTuple):
    """The ranker's own features of U requests and N candidates.

    Args:
        request_vectors: (U, F_r, D) vectors of the request-scope categorical features, the user id first.
        candidate_vectors: (N, F_c, D) vectors of the candidate-scope categorical features.
        request_dense: (U, M_r) raw values.
        candidate_dense: (N, M_c) raw values.
    """

    request_vectors: Tensor
    candidate_vectors: Tensor
    request_dense: Tensor
    candidate_dense: Tensor


def add_request_dense(features: RankerFeatures, more_UM: Tensor) -> RankerFeatures:
    """The features with more dense ones after those of the request."""
    request_dense = torch.cat([features.request_dense, more_UM], dim=1)
    return RankerFeatures(features.request_vectors, features.candidate_vectors, request_dense, features.candidate_dense)


class DenseArch(nn.Module):
    """Dense features: log scale, normalise with the training split's statistics, clip, MLP.

    The paper (arXiv 2412.01985) clips, log-scales and normalises, and tells no bounds. Log scale and normalising keep
    the order of values, so clipping last, in standard deviations, is clipping first at the raw values that lie there:
    one bound serves all features, whatever their units. The statistics are those of values that were not clipped.

    The vector belongs to the request where all dense features do, else to the candidate.

    Args:
        request: the request-scope features.
        candidate: the candidate-scope features.
        hidden: hidden widths.
        dim: D.
    """

    request_mean: Tensor
    request_std: Tensor
    candidate_mean: Tensor
    candidate_std: Tensor

    def __init__(
        self, request: Sequence[Feature], candidate: Sequence[Feature], hidden: Sequence[int], dim: int
    ) -> None:
        super().__init__()
        for scope, features in (("request", request), ("candidate", candidate)):
            self.register_buffer(f"{scope}_mean", torch.tensor([feature.mean for feature in features]))
            self.register_buffer(f"{scope}_std", torch.tensor([feature.std for feature in features]))
        self.clip = DENSE_CLIP
        self.once_a_request = not candidate
        shape = FieldShape(0, len(request), 1) if self.once_a_request else FieldShape(len(request), len(candidate), 1)
        widths = [*hidden, dim]
        self.first = SplitLinear(shape, widths[0])
        self.rest = nn.Sequential(nn.GELU(), MLP(widths)) if hidden else nn.Identity()

    def forward(self, dense: Fields, dtype: torch.dtype) -> Fields:
        """Raw values as vectors of width 1, float32 whatever the precision of the rest -> one vector of `dtype`."""
        request = _scaled(dense.request, self.request_mean, self.request_std, self.clip).to(dtype)
        candidate = _scaled(dense.candidate, self.candidate_mean, self.candidate_std, self.clip).to(dtype)
        if self.once_a_request:
            everyone = torch.arange(request.size(0), device=request.device)
            of_request_UD: Tensor = self.rest(self.first(Fields(request[:, :0], request, everyone)))
            return Fields(
                of_request_UD[:, None, :],
                of_request_UD.new_zeros([candidate.size(0), 0, of_request_UD.size(1)]),
                dense.owner,
            )
        of_candidate_ND: Tensor = self.rest(self.first(Fields(request, candidate, dense.owner)))
        return Fields(
            of_candidate_ND.new_zeros([request.size(0), 0, of_candidate_ND.size(1)]),
            of_candidate_ND[:, None, :],
            dense.owner,
        )


def _scaled(raw_NM1: Tensor, mean_M: Tensor, std_M: Tensor, clip: float) -> Tensor:
    scaled_NM = (raw_NM1.sign() * torch.log1p(raw_NM1.abs())).squeeze(2)
    return ((scaled_NM - mean_M) / std_M).clamp(-clip, clip)[:, :, None]


class NoDense(nn.Module):
    """Stands in for DenseArch where there are no dense features.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, dense: Fields, dtype: torch.dtype) -> Fields:
        """No vector of a request and none of a candidate."""
        request = torch.zeros([dense.request.size(0), 0, self.dim], dtype=dtype, device=dense.request.device)
        candidate = torch.zeros([dense.candidate.size(0), 0, self.dim], dtype=dtype, device=dense.request.device)
        return Fields(request, candidate, dense.owner)


class SparseArch(nn.Module):
    """Vectors of ids and embedding features, all brought to width D.

    Args:
        embedding_dims: widths of the embedding features (the candidate's id vector, the tower's output, the content
            vector); each is L2-normalised and projected, as in arXiv 2412.01985.
        dim: D.
    """

    def __init__(self, embedding_dims: Sequence[int], dim: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList([nn.Linear(width, dim) for width in embedding_dims])

    def forward(self, features: RankerFeatures, owner_N: Tensor, embeddings: list[Tensor]) -> Fields:
        """Stacks the vectors of requests and of candidates.

        Args:
            features: the ranker's own.
            owner_N: the request of each candidate.
            embeddings: (N, width) each, in the order of `embedding_dims`.

        Returns:
            (U, F_r, D), (N, F_c + number of embeddings, D).
        """
        vectors = [features.candidate_vectors]
        for i, projection in enumerate(self.projections):
            vectors.append(projection(nn.functional.normalize(embeddings[i], dim=1))[:, None, :])
        return Fields(features.request_vectors, torch.cat(vectors, dim=1), owner_N)


class OverArch(nn.Module):
    """The shared MLP and one head a task.

    Args:
        shape: of what the interactions give.
        hidden: widths of the shared MLP.
        num_tasks: K.
        dropout: after each activation.
    """

    def __init__(self, shape: FieldShape, hidden: Sequence[int], num_tasks: int, dropout: float) -> None:
        super().__init__()
        self.first = SplitLinear(shape, hidden[0])
        rest = [nn.GELU(), nn.Dropout(dropout), MLP(hidden, dropout)] if hidden[1:] else []
        self.shared = nn.Sequential(*rest, nn.GELU(), nn.Dropout(dropout))
        self.heads = nn.ModuleList([nn.Linear(hidden[-1], 1) for _ in range(num_tasks)])

    def forward(self, fields: Fields) -> Tensor:
        """Fields -> logits (N, K)."""
        shared = self.shared(self.first(fields))
        logits = []
        for head in self.heads:
            logits.append(head(shared))
        return torch.cat(logits, dim=1)


class Ranker(nn.Module):
    """SparseArch and DenseArch, their interactions, and the heads.

    Args:
        live_rates: LiveRates or NoLiveRates, more dense features of the candidates.
        live_path: LivePath or NoLivePath.
        dense_arch: DenseArch or NoDense.
        sparse_arch: SparseArch.
        interaction_arch: see `interactions/`.
        over_arch: OverArch.
    """

    def __init__(
        self,
        *,
        live_rates: nn.Module,
        live_path: nn.Module,
        dense_arch: nn.Module,
        sparse_arch: SparseArch,
        interaction_arch: nn.Module,
        over_arch: OverArch,
    ) -> None:
        super().__init__()
        self.live_rates = live_rates
        self.live_path = live_path
        self.dense_arch = dense_arch
        self.sparse_arch = sparse_arch
        self.interaction_arch = interaction_arch
        self.over_arch = over_arch

    def forward(self, features: RankerFeatures, candidate_lengths_U: Tensor, embeddings: list[Tensor]) -> Tensor:
        """Logits of every candidate for every task.

        Args:
            features: the ranker's own features.
            candidate_lengths_U: candidates of each request.
            embeddings: embedding features of the candidates, (N, width) each.

        Returns:
            (N, K).
        """
        return self.of_owners(features, torch.repeat_interleave(candidate_lengths_U), embeddings)

    def of_owners(self, features: RankerFeatures, owner_N: Tensor, embeddings: list[Tensor]) -> Tensor:
        """`forward` where it is known already which request (N,) int64, ascending, each candidate belongs to."""
        sparse = self.sparse_arch(features, owner_N, embeddings)
        dense_NM = torch.cat([features.candidate_dense, self.live_rates(features.candidate_dense)], dim=1)
        raw = Fields(features.request_dense[:, :, None], dense_NM[:, :, None], owner_N)
        dense: Fields = self.dense_arch(raw, sparse.candidate.dtype)
        request = torch.cat([sparse.request, dense.request], dim=1)
        candidate = torch.cat([sparse.candidate, dense.candidate], dim=1)
        logits_NK: Tensor = self.over_arch(self.interaction_arch(Fields(request, candidate, owner_N)))
        added_NK: Tensor = self.live_path(dense_NM, logits_NK.dtype)
        return logits_NK + added_NK


def build_ranker(config: RankerConfig, schema: InputSchema, embedding_dims: Sequence[int], dim: int) -> Ranker:
    """The ranker that a config describes.

    Args:
        config: its settings.
        schema: the dataset's features and tasks; the user id is one feature more.
        embedding_dims: widths of the embedding features.
        dim: D, the width of a feature's vector.
    """
    counts = count_features(schema.actions) if config.history_counts else ()
    request_dense = (*schema.of("dense", "request"), *counts)
    candidate_dense = (*schema.of("dense", "candidate"), *rate_features(schema))
    shape = FieldShape(
        request=1 + len(schema.of("categorical", "request")) + bool(request_dense and not candidate_dense),
        candidate=len(schema.of("categorical", "candidate")) + len(embedding_dims) + bool(candidate_dense),
        dim=dim,
    )
    interaction_arch = build_interaction(config.interaction, shape)
    has_dense = request_dense or candidate_dense
    return Ranker(
        live_rates=build_live_rates(schema),
        live_path=_live_path(schema, candidate_dense),
        dense_arch=DenseArch(request_dense, candidate_dense, config.dense_hidden, dim) if has_dense else NoDense(dim),
        sparse_arch=SparseArch(embedding_dims, dim),
        interaction_arch=interaction_arch,
        over_arch=OverArch(out_shape_of(interaction_arch), config.over_hidden, len(schema.tasks), config.dropout),
    )


def _live_path(schema: InputSchema, dense: Sequence[Feature]) -> LivePath | NoLivePath:
    """The straight way of those dense features of candidates that are counters, or rates of them."""
    counted = {feature.name for feature in rate_features(schema)}
    counted |= set(schema.live_counts.names()) if schema.live_counts else set()
    columns = [place for place, feature in enumerate(dense) if feature.name in counted]
    if not columns:
        return NoLivePath(len(schema.tasks))
    return LivePath([dense[place] for place in columns], columns, len(schema.tasks), DENSE_CLIP)
