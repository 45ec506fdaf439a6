"""Five ways to score candidates with one transformer, on the same weights, and what each has to compute.

Each takes the events and candidates of U users as jagged rows and gives one row per candidate:

    self_attention   the causal transformer over [history, candidate], once for every candidate
    copied           the history once, its keys and values copied for every candidate
    grouped          DCAT: the candidates of a user meet one copy of the keys and values
    exported         the same as frozen TorchScript, which is what an artefact runs; it has no backward pass
    graphed          the same as one CUDA graph, where all requests are of one length; it has no backward pass
"""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor, nn

from pinfm.model.config import TowerConfig
from pinfm.model.dcat import DCAT, Context
from pinfm.model.graphed import FixedShape, GraphedDCAT
from pinfm.model.layers.jagged import positions, starts


class Rows(NamedTuple):
    """Tokens of U users.

    Args:
        events: (T, D), the histories one after the other.
        event_lengths: (U,) int64.
        candidates: (N, D), grouped by user.
        candidate_lengths: (U,) int64.
    """

    events: Tensor
    event_lengths: Tensor
    candidates: Tensor
    candidate_lengths: Tensor


Form = Callable[[Rows], Tensor]


def self_attention(dcat: DCAT, rows: Rows) -> Tensor:
    """(N, D): every candidate behind a copy of its user's history."""
    user_N = torch.repeat_interleave(rows.candidate_lengths)
    history_N = rows.event_lengths[user_N]
    candidate_S = torch.repeat_interleave(history_N + 1)  # S rows of all sequences
    place_S = positions(history_N + 1, candidate_S)
    event_S = starts(rows.event_lengths)[user_N][candidate_S] + place_S
    source_S = torch.where(place_S < history_N[candidate_S], event_S, len(rows.events) + candidate_S)
    sequences = torch.cat([rows.events, rows.candidates])[source_S]
    return dcat.outputs(dcat.encode_context(sequences, history_N + 1))[place_S == history_N[candidate_S]]


def copied(dcat: DCAT, rows: Rows) -> Tensor:
    """(N, D): every candidate is a request of its own, with its own keys and values."""
    context = dcat.encode_context(rows.events, rows.event_lengths)
    user_N = torch.repeat_interleave(rows.candidate_lengths)
    lengths_N = context.lengths[user_N]
    owner_S = torch.repeat_interleave(lengths_N)
    event_S = starts(context.lengths)[user_N][owner_S] + positions(lengths_N, owner_S)
    keys, values = ([of_layer[event_S] for of_layer in layers] for layers in (context.keys, context.values))
    own = Context(lengths_N, context.rows, keys, values)
    return dcat.cross(own, rows.candidates, torch.ones_like(user_N))


class Grouped(nn.Module):
    """DCAT, in a form that TorchScript takes.

    Args:
        dcat: the transformer.
    """

    def __init__(self, dcat: DCAT) -> None:
        super().__init__()
        self.dcat = dcat

    def forward(self, rows: Rows) -> Tensor:
        """(N, D): the context, and the candidates against it."""
        context = self.dcat.encode_context(rows.events, rows.event_lengths)
        return self.dcat.cross(context, rows.candidates, rows.candidate_lengths)


def exported(dcat: DCAT, rows: Rows) -> Form:
    """The frozen form after two calls on these rows, in which TorchScript optimises."""
    form: Form = torch.jit.freeze(torch.jit.script(Grouped(dcat).eval()))
    with torch.no_grad():
        for _ in range(2):
            form(rows)
    return form


def graphed(dcat: DCAT, rows: Rows) -> Form:
    """The CUDA graph of these rows' shape."""
    users = len(rows.event_lengths)
    graph = GraphedDCAT(dcat, FixedShape(users, len(rows.events) // users, len(rows.candidates) // users))

    def form(rows: Rows) -> Tensor:
        events, candidates = (x.view(users, -1, x.size(1)) for x in (rows.events, rows.candidates))
        return graph(events, rows.event_lengths, candidates).flatten(0, 1)

    return form


def form_of(impl: str, dcat: DCAT, rows: Rows) -> Form:
    """One of the forms, ready to run.

    Args:
        impl: its name.
        dcat: the transformer.
        rows: what it will be timed on.
    """
    if impl == "exported":
        return exported(dcat, rows)
    if impl == "graphed":
        return graphed(dcat, rows)
    if impl == "grouped":
        return Grouped(dcat)
    return partial({"self_attention": self_attention, "copied": copied}[impl], dcat)


def needed_flops(rows: Rows, tower: TowerConfig) -> float:
    """Floating-point operations of DCAT on real tokens: 24 D^2 a row and layer, 4 D a pair that attends.

    A gate on attention is 2 D^2 more a row. The last layer computes keys and values of the events alone, 4 D^2 a row.
    """
    lengths_U, counts_U = rows.event_lengths.double(), rows.candidate_lengths.double()
    history_pairs = float((lengths_U * (lengths_U + 1) / 2).sum())
    candidate_pairs = float((counts_U * (lengths_U + 1)).sum())
    num_layers, dim = tower.num_layers, tower.dim
    of_row = (26.0 if tower.attention_gate else 24.0) * dim**2
    of_events = (num_layers - 1) * (of_row * len(rows.events) + 4.0 * dim * history_pairs)
    of_candidates = num_layers * (of_row * len(rows.candidates) + 4.0 * dim * candidate_pairs)
    return of_events + 4.0 * dim**2 * len(rows.events) + of_candidates
