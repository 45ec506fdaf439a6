"""The multi-task ranker in TorchRec's vocabulary: SparseArch and DenseArch -> InteractionArch -> OverArch.

    U  requests     N  candidates     F  feature vectors of a candidate     D  their width     K  tasks

Request-scope features come once per request and are expanded to its candidates here, no earlier.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinfm.model.config import RankerConfig
from pinfm.model.layers.mlp import MLP
from pinfm.model.ranking.history_counts import count_features
from pinfm.model.ranking.interactions import CrossInteraction, DotInteraction
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

    Args:
        features: the dense features, request scope first.
        hidden: hidden widths.
        dim: D.
    """

    mean_M: Tensor
    std_M: Tensor

    def __init__(self, features: Sequence[Feature], hidden: Sequence[int], dim: int) -> None:
        super().__init__()
        self.register_buffer("mean_M", torch.tensor([feature.mean for feature in features]))
        self.register_buffer("std_M", torch.tensor([feature.std for feature in features]))
        self.clip = DENSE_CLIP
        self.mlp = MLP([len(features), *hidden, dim])

    def forward(self, dense_NM: Tensor, dtype: torch.dtype) -> Tensor:
        """(N, M) raw values, float32 whatever the precision of the rest -> (N, 1, D) of `dtype`."""
        scaled_NM = dense_NM.sign() * torch.log1p(dense_NM.abs())
        normalized_NM = ((scaled_NM - self.mean_M) / self.std_M).clamp(-self.clip, self.clip)
        vectors_ND: Tensor = self.mlp(normalized_NM.to(dtype))
        return vectors_ND[:, None, :]


class NoDense(nn.Module):
    """Stands in for DenseArch where there are no dense features."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.dim = dim

    def forward(self, dense_NM: Tensor, dtype: torch.dtype) -> Tensor:
        """(N, 0) -> (N, 0, D)."""
        return torch.zeros([dense_NM.size(0), 0, self.dim], dtype=dtype, device=dense_NM.device)


class SparseArch(nn.Module):
    """Vectors of ids and embedding features, all brought to width D.

    Args:
        embedding_dims: widths of the embedding features (the candidate's id vector, the tower's output); each is
            L2-normalised and projected, as in arXiv 2412.01985.
        dim: D.
    """

    def __init__(self, embedding_dims: Sequence[int], dim: int) -> None:
        super().__init__()
        self.projections = nn.ModuleList([nn.Linear(width, dim) for width in embedding_dims])

    def forward(self, features: RankerFeatures, owner_N: Tensor, embeddings: list[Tensor]) -> Tensor:
        """Stacks a candidate's vectors.

        Args:
            features: the ranker's own.
            owner_N: the request of each candidate.
            embeddings: (N, width) each, in the order of `embedding_dims`.

        Returns:
            (N, F_r + F_c + number of embeddings, D).
        """
        vectors = [features.request_vectors[owner_N], features.candidate_vectors]
        for i, projection in enumerate(self.projections):
            vectors.append(projection(nn.functional.normalize(embeddings[i], dim=1))[:, None, :])
        return torch.cat(vectors, dim=1)


class OverArch(nn.Module):
    """The shared MLP and one head a task.

    Args:
        in_dim: width of the interactions.
        hidden: widths of the shared MLP.
        num_tasks: K.
        dropout: after each activation.
    """

    def __init__(self, in_dim: int, hidden: Sequence[int], num_tasks: int, dropout: float) -> None:
        super().__init__()
        self.shared = nn.Sequential(MLP([in_dim, *hidden], dropout), nn.GELU(), nn.Dropout(dropout))
        self.heads = nn.ModuleList([nn.Linear(hidden[-1], 1) for _ in range(num_tasks)])

    def forward(self, x: Tensor) -> Tensor:
        """(N, in_dim) -> logits (N, K)."""
        shared = self.shared(x)
        logits = []
        for head in self.heads:
            logits.append(head(shared))
        return torch.cat(logits, dim=1)


class Ranker(nn.Module):
    """SparseArch and DenseArch, their interactions, and the heads.

    Args:
        dense_arch: DenseArch or NoDense.
        sparse_arch: SparseArch.
        interaction_arch: DotInteraction or CrossInteraction.
        over_arch: OverArch.
    """

    def __init__(
        self, dense_arch: nn.Module, sparse_arch: SparseArch, interaction_arch: nn.Module, over_arch: OverArch
    ) -> None:
        super().__init__()
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
        owner_N = torch.repeat_interleave(candidate_lengths_U)
        dense_NM = torch.cat([features.request_dense[owner_N], features.candidate_dense], dim=1)
        sparse_NFD = self.sparse_arch(features, owner_N, embeddings)
        vectors_NFD = torch.cat([sparse_NFD, self.dense_arch(dense_NM, sparse_NFD.dtype)], dim=1)
        logits_NK: Tensor = self.over_arch(self.interaction_arch(vectors_NFD))
        return logits_NK


def build_ranker(config: RankerConfig, schema: InputSchema, embedding_dims: Sequence[int], dim: int) -> Ranker:
    """The ranker that a config describes.

    Args:
        config: its settings.
        schema: the dataset's features and tasks; the user id is one feature more.
        embedding_dims: widths of the embedding features.
        dim: D, the width of a feature's vector.
    """
    counts = count_features(schema.actions) if config.history_counts else ()
    dense = schema.of("dense", "request") + counts + schema.of("dense", "candidate")
    num_categorical = 1 + sum(feature.kind == "categorical" for feature in schema.features)
    num_vectors = num_categorical + len(embedding_dims) + (1 if dense else 0)
    interaction_arch = (
        DotInteraction(num_vectors, dim)
        if config.interaction == "dot"
        else CrossInteraction(num_vectors, dim, config.cross_layers, config.cross_rank)
    )
    return Ranker(
        dense_arch=DenseArch(dense, config.dense_hidden, dim) if dense else NoDense(dim),
        sparse_arch=SparseArch(embedding_dims, dim),
        interaction_arch=interaction_arch,
        over_arch=OverArch(interaction_arch.out_dim, config.over_hidden, len(schema.tasks), config.dropout),
    )
