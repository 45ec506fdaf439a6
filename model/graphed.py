"""DCAT at one fixed shape: every request of a batch padded to the same events and candidates, nothing read back.

    U  requests     L  events of each     C  candidates of each     D  width

Serving on a GPU launches some hundred small kernels a request, and the host that launches them is what takes the time.
A CUDA graph launches all of them at once, but holds addresses and sizes: no step may depend on a number in a tensor.
`FixedDCAT` is such a pass, on any device; `GraphedDCAT` is the graph of it.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinfm.model.dcat import DCAT
from pinfm.model.layers.jagged import Layout
from pinfm.model.layers.visibility import Crossing, Histories, PaddedCrossing, hidden_bias


class FixedShape(NamedTuple):
    """What a batch is padded to.

    Args:
        requests: U.
        events: L, a multiple of 8, as CUDA's attention wants it.
        candidates: C.
    """

    requests: int
    events: int
    candidates: int


class FixedDCAT(nn.Module):
    """The context and the crossing of padded requests, without a step that waits for the device.

    Args:
        dcat: the transformer.
        shape: of the batch.

    Raises:
        ValueError: events that are no multiple of 8.
    """

    def __init__(self, dcat: DCAT, shape: FixedShape) -> None:
        super().__init__()
        if shape.events % 8:
            raise ValueError(f"events ({shape.events}) must be a multiple of 8; pad to {-(-shape.events // 8) * 8}.")
        self.dcat, self.shape = dcat, shape

    def forward(self, events_ULD: Tensor, lengths_U: Tensor, candidates_UCD: Tensor) -> Tensor:
        """Scores candidates against histories, padding included.

        Args:
            events_ULD: tokens, oldest first; what stands after a history's end is not looked at, but must be finite.
            lengths_U: int64, events that are real, 0 to L.
            candidates_UCD: tokens; those of no candidate give rows that mean nothing.

        Returns:
            (U, C, D): `DCAT.cross` of each candidate.
        """
        requests, events, candidates = self.shape
        of_events, of_candidates = (
            full_layout(requests, events, lengths_U),
            full_layout(requests, candidates, lengths_U),
        )
        places_T = torch.arange(events, device=lengths_U.device).repeat(requests)
        angles_T = self.dcat.positions(places_T - lengths_U[of_events.owners])
        context = self.dcat.context_layers(events_ULD.flatten(0, 1), lengths_U, angles_T, Histories([], of_events))
        bias_UCL = hidden_bias(lengths_U[:, None].expand(-1, candidates), events)
        sees = Crossing([], PaddedCrossing(of_candidates, of_events, bias_UCL))
        return self.dcat.crossing_layers(context, candidates_UCD.flatten(0, 1), None, sees).view_as(candidates_UCD)


class GraphedDCAT:
    """`FixedDCAT` as one CUDA graph; it computes no gradient.

    The weights are those of the module, so a change of them in place is seen. One call at a time: inputs and output
    live in the graph's memory.

    Args:
        dcat: the transformer, on a CUDA device, in evaluation mode.
        shape: of the batch.
    """

    def __init__(self, dcat: DCAT, shape: FixedShape) -> None:
        weight = dcat.final_norm.weight
        requests, events, candidates = shape
        self._inputs = (
            torch.zeros(requests, events, weight.numel(), dtype=weight.dtype, device=weight.device),
            torch.zeros(requests, dtype=torch.int64, device=weight.device),
            torch.zeros(requests, candidates, weight.numel(), dtype=weight.dtype, device=weight.device),
        )
        fixed = FixedDCAT(dcat, shape)
        self._graph = torch.cuda.CUDAGraph()
        self._output: Tensor
        with torch.no_grad():
            # Libraries allocate at their first calls, which a capture must not see.
            side = torch.cuda.Stream(weight.device)  # type: ignore[no-untyped-call]
            side.wait_stream(torch.cuda.current_stream(weight.device))
            with torch.cuda.stream(side):
                for _ in range(3):
                    fixed(*self._inputs)
            torch.cuda.current_stream(weight.device).wait_stream(side)
            with torch.cuda.graph(self._graph):
                self._output = fixed(*self._inputs)

    def __call__(self, events_ULD: Tensor, lengths_U: Tensor, candidates_UCD: Tensor) -> Tensor:
        """See `FixedDCAT.forward`; the returned (U, C, D) is overwritten by the next call."""
        for held, given in zip(self._inputs, (events_ULD, lengths_U, candidates_UCD), strict=True):
            held.copy_(given, non_blocking=True)
        self._graph.replay()
        return self._output


def full_layout(sequences: int, length: int, like: Tensor) -> Layout:
    """The layout of a block without padding, on the device of `like`."""
    slots_T = torch.arange(sequences * length, device=like.device)
    return Layout(slots_T, slots_T // length, sequences, length)
