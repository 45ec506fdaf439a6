"""The forms that adaptation has: event vectors in, what candidates read out.

Each has the same step, `forward(history, item_TE) -> (History, Context)`; without adaptation it is
`SequenceEncoder.encode_context`, which keeps the history as it is.

T  events of U histories     E  width of an item's vector
"""

import torch
from torch import Tensor, nn

from pinfm.embeddings.errors import UserError
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference
from pinfm.model.adaptation.trust import TrustWeights
from pinfm.model.adaptation.vectors import VectorAdaptation
from pinfm.model.dcat import Context
from pinfm.model.encoder import SequenceEncoder
from pinfm.model.inputs import History
from pinfm.model.layers.mlp import NormalizedMLP


class AdaptedVectors(nn.Module):
    """Moves the event vectors, then encodes them.

    Args:
        encoder: the tower, in evaluation mode; shared, not copied.
        reference: items and states of other users.
        config: losses, steps and radius.
    """

    def __init__(self, encoder: SequenceEncoder, reference: Reference, config: VectorAdaptationConfig) -> None:
        super().__init__()
        self.adapt = VectorAdaptation(encoder, reference, config)

    def forward(self, history: History, item_TE: Tensor) -> tuple[History, Context]:
        """The same events, and their context.

        Args:
            history: T events of U histories.
            item_TE: vectors of their items.
        """
        context: Context = self.adapt.encode(history, item_TE)[1]
        return history, context


class TrustedEvents(nn.Module):
    """Encodes the history, then drops the events that the rest of it disowns.

    Args:
        encoder: the tower, in evaluation mode; shared, not copied.
        reference: items and states of other users.
        config: below which trust an event is dropped.
    """

    def __init__(self, encoder: SequenceEncoder, reference: Reference, config: TrustConfig) -> None:
        super().__init__()
        self.encoder = encoder
        self.weights = TrustWeights(encoder, reference, config)

    def forward(self, history: History, item_TE: Tensor) -> tuple[History, Context]:
        """The events that are trusted, and the context of these.

        Args:
            history: T events of U histories.
            item_TE: vectors of their items.
        """
        context = self.encoder.encode_context(history, item_TE)
        kept: tuple[History, Context] = self.weights.drop(history, context, self.weights(history, context, item_TE))
        return kept

    @torch.jit.export
    def trust(self, history: History, item_TE: Tensor) -> Tensor:
        """(T,) float32 in [0, 1]: how far each event is trusted; see `TrustWeights`."""
        weights_T: Tensor = self.weights(history, self.encoder.encode_context(history, item_TE), item_TE)
        return weights_T


@torch.no_grad()
def build_adaptation(
    encoder: SequenceEncoder, reference: Reference, config: VectorAdaptationConfig | TrustConfig
) -> AdaptedVectors | TrustedEvents:
    """The form that a config is for.

    Args:
        encoder: the tower, in evaluation mode, in the type that it is served in.
        reference: items and states of other users, made with the same encoder.
        config: its settings.

    Raises:
        UserError: vectors are to be moved in a tower with tied heads.
    """
    if isinstance(config, TrustConfig):
        return TrustedEvents(encoder, reference, config)
    if not isinstance(encoder.psi, NormalizedMLP):
        raise UserError(
            "--adapt vectors moves event vectors by the gradients of phi_in, phi_out and psi, which a tower with "
            "tower.heads tied does not have; take --adapt trust."
        )
    return AdaptedVectors(encoder, reference, config)
