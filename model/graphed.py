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
from pinfm.model.padded.dcat import cross_padded, encode_padded


class FixedShape(NamedTuple):
    """What a batch is padded to.

    Args:
        requests: U, at least 1.
        events: L, a multiple of 8, as CUDA's attention wants it.
        candidates: C, at least 1.
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
        ValueError: a size below 1, or events that are no multiple of 8.
    """

    def __init__(self, dcat: DCAT, shape: FixedShape) -> None:
        super().__init__()
        for name, size in shape._asdict().items():
            if size < 1:
                raise ValueError(f"{name} ({size}) must be at least 1.")
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

        Raises:
            ValueError: tensors of another shape.
        """
        self.require_shape(events_ULD, lengths_U, candidates_UCD)
        context = encode_padded(self.dcat, events_ULD, lengths_U)
        return cross_padded(self.dcat, context, self.shape.events, candidates_UCD)

    def require_shape(self, events_ULD: Tensor, lengths_U: Tensor, candidates_UCD: Tensor) -> None:
        """Raises ValueError where a tensor has another shape; see `forward`."""
        requests, events, candidates = self.shape
        dim = self.dcat.final_norm.weight.numel()
        wanted = {"events": (requests, events, dim), "lengths": (requests,), "candidates": (requests, candidates, dim)}
        for (name, size), given in zip(wanted.items(), (events_ULD, lengths_U, candidates_UCD), strict=True):
            if given.shape != size:
                raise ValueError(f"{name} are {tuple(given.shape)}, the shape asks for {size}; pad them to it.")


class GraphedDCAT:
    """`FixedDCAT` as one CUDA graph; it computes no gradient.

    The weights are those of the module, so a change of them in place is seen. One call at a time: inputs and output
    live in the graph's memory. Make it before other threads use the device: what they allocate would break the capture.

    Args:
        dcat: the transformer, on a CUDA device, in evaluation mode.
        shape: of the batch.

    Raises:
        ValueError: a module in training mode or on another device, or a shape that `FixedDCAT` refuses.
    """

    @torch.no_grad()
    def __init__(self, dcat: DCAT, shape: FixedShape) -> None:
        weight = dcat.final_norm.weight
        if dcat.training or not weight.is_cuda:
            raise ValueError("a CUDA graph holds a module on a CUDA device, without dropout; call cuda() and eval().")
        requests, events, candidates = shape
        self._fixed = FixedDCAT(dcat, shape)  # the graph knows addresses alone: somebody has to keep the weights
        self._inputs = (
            weight.new_zeros(requests, events, weight.numel()),
            weight.new_zeros(requests, dtype=torch.int64),
            weight.new_zeros(requests, candidates, weight.numel()),
        )
        self._graph = torch.cuda.CUDAGraph()
        # A stream of its own, on the module's device; libraries allocate at their first calls, before the capture.
        side = torch.cuda.Stream(weight.device)  # type: ignore[no-untyped-call]
        side.wait_stream(torch.cuda.current_stream(weight.device))
        with torch.cuda.stream(side):
            for _ in range(3):
                self._fixed(*self._inputs)
        torch.cuda.current_stream(weight.device).wait_stream(side)
        with torch.cuda.graph(self._graph, stream=side):
            self._output = self._fixed(*self._inputs)

    @torch.no_grad()
    def __call__(self, events_ULD: Tensor, lengths_U: Tensor, candidates_UCD: Tensor) -> Tensor:
        """See `FixedDCAT.forward`; the returned (U, C, D) is overwritten by the next call."""
        self._fixed.require_shape(events_ULD, lengths_U, candidates_UCD)
        for held, given in zip(self._inputs, (events_ULD, lengths_U, candidates_UCD), strict=True):
            held.copy_(given, non_blocking=True)
        self._graph.replay()
        output_UCD: Tensor = self._output
        return output_UCD
