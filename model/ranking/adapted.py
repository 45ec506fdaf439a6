"""The ranker as it is served where histories may have been tampered with."""

import torch
from torch import Tensor, nn

from pinfm.model.adaptation.adapted import AdaptedVectors, TrustedEvents
from pinfm.model.dcat import Context
from pinfm.model.inputs import History, own_histories
from pinfm.model.ranking.joint import FusedRanker, RankingInputs


class AdaptedRanker(nn.Module):
    """A fused ranker whose candidates read histories that were adapted, once a user.

    Args:
        ranker: the very model that was trained, in evaluation mode.
        adaptation: of its histories; shares the ranker's encoder.
    """

    def __init__(self, ranker: FusedRanker, adaptation: AdaptedVectors | TrustedEvents) -> None:
        super().__init__()
        self.ranker, self.adaptation = ranker, adaptation

    def score(self, inputs: RankingInputs) -> Tensor:
        """(N, K) logits.

        Whatever is read of a history is read of the adapted one: the ranker's counts and the time of the newest event
        too.

        Args:
            inputs: of requests that have a history each and see all of it.
        """
        assert torch.equal(inputs.reads.visible, inputs.history.lengths), "a request sees a part of a history"
        history, context = self.encode(inputs.history, inputs.item_TE)
        adapted = RankingInputs(
            history,
            inputs.candidates,
            inputs.item_TE,
            inputs.item_NE,
            inputs.features,
            own_histories(history.lengths),
        )
        return self.score_encoded(context, adapted)

    def encode(self, history: History, item_TE: Tensor) -> tuple[History, Context]:
        """The adapted histories and their encoding; events that are not trusted are in neither."""
        adapted: tuple[History, Context] = self.adaptation(history, item_TE)
        return adapted

    def score_encoded(self, context: Context, inputs: RankingInputs) -> Tensor:
        """(N, K) logits of candidates against what `encode` gave: its context, its histories in the inputs."""
        return self.ranker.against(context, inputs)[0]

    def user_vectors(self, context: Context, history: History, request_timestamp_U: Tensor) -> Tensor:
        """(U, O) of the adapted histories; see `FusedRanker`."""
        return self.ranker.user_vectors(context, history, request_timestamp_U)

    def catalogue_vectors(self, item_VE: Tensor) -> Tensor:
        """(V, O); see `FusedRanker`."""
        return self.ranker.catalogue_vectors(item_VE)

    def times_and_counts(self, history: History, request_timestamp_U: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Raises ValueError: what is read of a history is known when it is adapted."""
        # Of a literal: TorchScript sees no constants of a module.
        raise ValueError("the model adapts histories, which stages on blocks do not; score with forward.")
