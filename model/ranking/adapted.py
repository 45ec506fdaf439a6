"""The ranker as it is served where histories may have been tampered with."""

import torch
from torch import Tensor, nn

from pinfm.model.adaptation.adapted import AdaptedVectors, TrustedEvents
from pinfm.model.inputs import own_histories
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
        history, context = self.adaptation(inputs.history, inputs.item_TE)
        adapted = RankingInputs(
            history,
            inputs.candidates,
            inputs.item_TE,
            inputs.item_NE,
            inputs.features,
            own_histories(history.lengths),
        )
        return self.ranker.against(context, adapted)[0]
