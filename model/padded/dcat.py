"""DCAT on padded blocks: every request of a batch has the same events and candidates, nothing is read back.

U  requests     L  events of each     C  candidates of each     D  width
"""

import torch
from torch import Tensor

from pinfm.model.attention.visibility import Crossing, Histories, PaddedCrossing, hidden_bias
from pinfm.model.dcat import DCAT, Context
from pinfm.model.layers.jagged import Layout


def encode_padded(dcat: DCAT, x_ULD: Tensor, lengths_U: Tensor) -> Context:
    """`DCAT.encode_context` of padded histories.

    Args:
        dcat: the transformer.
        x_ULD: tokens, oldest first; what stands after a history's end is not looked at, but must be finite.
        lengths_U: int64, events that are real, 0 to L.

    Returns:
        Keys and values of U L rows, padding included.
    """
    angles_T, among = _among(dcat, x_ULD.size(1), lengths_U)
    return dcat.context_layers(x_ULD.flatten(0, 1), lengths_U, angles_T, among)


def outputs_padded(dcat: DCAT, context: Context, length: int) -> Tensor:
    """`DCAT.outputs` (U, L, D) of what `encode_padded` gives for histories of so many slots."""
    angles_T, among = _among(dcat, length, context.lengths)
    output_TD = dcat.output_layer(context, angles_T, among)
    return output_TD.view(context.lengths.size(0), length, output_TD.size(1))


def cross_padded(dcat: DCAT, context: Context, length: int, x_UCD: Tensor) -> Tensor:
    """`DCAT.cross` of padded candidates.

    Args:
        dcat: the transformer.
        context: from `encode_padded`.
        length: L.
        x_UCD: tokens; those of no candidate give rows that mean nothing.

    Returns:
        (U, C, D).
    """
    requests, candidates = x_UCD.size(0), x_UCD.size(1)
    # All candidates of a request see the same: one row for them is enough, but for CUDA's kernel, which wants each.
    rows = 1 if x_UCD.device.type == "cpu" else candidates
    bias_URL = hidden_bias(context.lengths[:, None].expand(-1, rows), length)
    of_candidates = full_layout(requests, candidates, context.lengths)
    of_events = full_layout(requests, length, context.lengths)
    sees = Crossing([], PaddedCrossing(of_candidates, of_events, bias_URL))
    return dcat.crossing_layers(context, x_UCD.flatten(0, 1), None, sees).view_as(x_UCD)


def full_layout(sequences: int, length: int, like: Tensor) -> Layout:
    """The layout of a block without padding, on the device of `like`."""
    slots_T = torch.arange(sequences * length, device=like.device)
    return Layout(slots_T, slots_T // length, sequences, length)


def _among(dcat: DCAT, length: int, lengths_U: Tensor) -> tuple[Tensor, Histories]:
    """Angles of U L events, and which each of them sees; positions are counted back from the candidates'."""
    where = full_layout(lengths_U.size(0), length, lengths_U)
    places_T = torch.arange(length, device=lengths_U.device).repeat(lengths_U.size(0))
    angles_T: Tensor = dcat.positions(places_T - lengths_U[where.owners])
    return angles_T, Histories([], where, None)
