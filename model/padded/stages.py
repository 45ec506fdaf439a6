"""A served model as three functions of blocks: what an exporter wants, who traces sizes and can't read numbers.

    encode   (U, L)   events             ->  what is kept of each history
    cross    (U, C)   that, candidates   ->  the tower's features
    rank     (N,)     features           ->  probabilities

U  requests     L  events of each     C  candidates of each     N  candidates of all     E  width of an item vector
"""

import torch
from torch import Tensor, nn

from pinfm.model.encoder import SequenceEncoder
from pinfm.model.padded.fusion import padded_fusion
from pinfm.model.ranking.joint import FusedRanker, PlainRanker
from pinfm.model.ranking.ranker import RankerFeatures


class Encode(nn.Module):
    """Histories, encoded once.

    Args:
        encoder: of the model, in evaluation mode.
    """

    def __init__(self, encoder: SequenceEncoder) -> None:
        super().__init__()
        self.tokens, self.fusion = encoder.tokens, padded_fusion(encoder.fusion)

    def forward(
        self, item_ULE: Tensor, action_UL: Tensor, surface_UL: Tensor, gap_UL: Tensor, lengths_U: Tensor
    ) -> Tensor:
        """What is kept of each history.

        Args:
            item_ULE: item vectors of the events, oldest first; any finite number after a history's end.
            action_UL: int64 codes.
            surface_UL: int64 codes.
            gap_UL: int64, from `TokenInput.event_gaps`.
            lengths_U: int64, events that are real, 0 to L.

        Returns:
            (parts, U, rows, D), for `Cross`.
        """
        _require_equal(lengths_U.size(0), item_ULE.size(0), action_UL.size(0), surface_UL.size(0), gap_UL.size(0))
        _require_equal(item_ULE.size(1), action_UL.size(1), surface_UL.size(1), gap_UL.size(1))
        return self.fusion.encode(self.tokens.of_events(item_ULE, action_UL, surface_UL, gap_UL), lengths_U)


class Cross(nn.Module):
    """Candidates against encoded histories.

    Args:
        encoder: of the model, in evaluation mode.
        has_surface: requests tell their surface.
    """

    def __init__(self, encoder: SequenceEncoder, *, has_surface: bool) -> None:
        super().__init__()
        self.tokens, self.fusion = encoder.tokens, padded_fusion(encoder.fusion)
        self.content, self.phi_out = encoder.content, encoder.phi_out
        self.has_surface = has_surface

    def forward(
        self, kept: Tensor, lengths_U: Tensor, item_UCE: Tensor, content_UCK: Tensor, gap_U: Tensor, surface_U: Tensor
    ) -> Tensor:
        """The tower's features.

        Args:
            kept: from `Encode`.
            lengths_U: int64, events of each history.
            item_UCE: item vectors of the candidates; any finite number in place of no candidate.
            content_UCK: their content vectors; K = 0 where items have none.
            gap_U: int64, from `TokenInput.request_gaps`.
            surface_U: int64 codes of where each request is made; not read unless requests tell it.

        Returns:
            (U, C, O).
        """
        _require_equal(lengths_U.size(0), kept.size(1), item_UCE.size(0), content_UCK.size(0), gap_U.size(0))
        _require_equal(item_UCE.size(1), content_UCK.size(1))
        item_UCE = self.content(item_UCE, content_UCK)
        surface_U1 = surface_U[:, None] if self.has_surface else None
        tokens_UCD = self.tokens.of_candidates(item_UCE, gap_U[:, None], surface_U1)
        features_UCO: Tensor = self.phi_out(self.fusion.cross(kept, lengths_U, tokens_UCD))
        return features_UCO


class Rank(nn.Module):
    """The ranker on candidates whose tower features are known.

    Args:
        model: in evaluation mode.
    """

    def __init__(self, model: FusedRanker | PlainRanker) -> None:
        super().__init__()
        self.content_vector, self.ranker = model.content_vector, model.ranker
        self.tower_heads = model.tower_heads if isinstance(model, FusedRanker) else None

    def forward(
        self,
        tower_NO: Tensor,
        item_NE: Tensor,
        content_NK: Tensor,
        owner_N: Tensor,
        request_vectors: Tensor,
        candidate_vectors: Tensor,
        request_dense: Tensor,
        candidate_dense: Tensor,
    ) -> Tensor:
        """Probabilities.

        Args:
            tower_NO: from `Cross`; not read without a tower.
            item_NE: item vectors.
            content_NK: content vectors; K = 0 where items have none.
            owner_N: int64, ascending, the request of each candidate.
            request_vectors: as in `RankerFeatures`.
            candidate_vectors: as there.
            request_dense: as there, with what is counted in histories.
            candidate_dense: as there.

        Returns:
            (N, tasks) float32.
        """
        _require_equal(owner_N.size(0), item_NE.size(0), tower_NO.size(0), content_NK.size(0))
        _require_equal(owner_N.size(0), candidate_vectors.size(0), candidate_dense.size(0))
        _require_equal(request_vectors.size(0), request_dense.size(0))
        features = RankerFeatures(request_vectors, candidate_vectors, request_dense, candidate_dense)
        embeddings = [item_NE] if self.tower_heads is None else [item_NE, tower_NO]
        embeddings.extend(self.content_vector(content_NK))
        logits_NK = self.ranker.of_owners(features, owner_N, embeddings)
        if self.tower_heads is not None:
            logits_NK = logits_NK + self.tower_heads.added(tower_NO)
        return torch.sigmoid(logits_NK.float())


def _require_equal(size: int, *others: int) -> None:
    """Sizes that are one: a tracer holds each input's for a number of its own until it is told."""
    for other in others:
        torch._check(size == other)  # type: ignore[no-untyped-call]
