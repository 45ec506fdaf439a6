"""The slow and obvious tower: the plain causal transformer over [history, (learnable token), candidate].

One request, one candidate and one head at a time, with the whole attention matrix and its mask. It shares the weights
of the module under test and none of its jagged or split code.

    S  tokens of one sequence     D  width     d  width of a head     E  width of an item's vector
"""

import itertools
import math

import torch
import torch.nn.functional as F

from pinfm.model.layers.tokens import NUM_GAP_BUCKETS, RequestTime
from pinfm.model.layers.transformer import RotaryPositions, SiluGate


def rotary(x_Sd):
    """Position s turns the pair (x[j], x[j + d / 2]), read as a complex number, by s * 10000 ** (-2 j / d)."""
    length, dim = x_Sd.shape
    angles = [[s * 10_000.0 ** (-2 * j / dim) for j in range(dim // 2)] for s in range(length)]
    angles = torch.tensor(angles, dtype=x_Sd.dtype)
    first, second = x_Sd[:, : dim // 2], x_Sd[:, dim // 2 :]
    turned = torch.complex(first, second) * torch.complex(angles.cos(), angles.sin())
    return torch.cat([turned.real, turned.imag], dim=1)


def causal_attention(block, x_SD, turn):
    length, dim = x_SD.shape
    head_dim = dim // block.num_heads
    visible_SS = torch.tensor([[k <= q for k in range(length)] for q in range(length)])
    projections = list(zip(block.query_key_value.weight.chunk(3), block.query_key_value.bias.chunk(3), strict=True))
    heads = []
    for h in range(block.num_heads):
        rows = slice(h * head_dim, (h + 1) * head_dim)
        query, key, value = (x_SD @ weight[rows].T + bias[rows] for weight, bias in projections)
        scores_SS = turn(query) @ turn(key).T / math.sqrt(head_dim)
        heads.append(torch.softmax(scores_SS.masked_fill(~visible_SS, -math.inf), dim=1) @ value)
    attended = torch.cat(heads, dim=1)
    if isinstance(block.attention_gate, SiluGate):
        attended = attended * F.silu(block.attention_gate.gate(x_SD))
    return block.attention_out(attended)


def causal_transformer(dcat, x_SD):
    """The outputs at all positions of one sequence."""
    turn = rotary if isinstance(dcat.positions, RotaryPositions) else lambda x_Sd: x_Sd
    for block in dcat.blocks:
        x_SD = x_SD + causal_attention(block, block.attention_norm(x_SD), turn)
        x_SD = x_SD + block.mlp(block.mlp_norm(x_SD))
    return dcat.final_norm(x_SD)


def split(rows, lengths):
    """Rows of each request."""
    ends = [sum(lengths[: i + 1]) for i in range(len(lengths))]
    return [rows[end - length : end] for end, length in zip(ends, lengths, strict=True)]


def parts_read(rows, lengths, reads):
    """The rows that each request sees: its own sequence, or a prefix of the one that `reads` names."""
    sequences = split(rows, lengths)
    if reads is None:
        return sequences
    return [sequences[s][:visible] for s, visible in zip(*(x.tolist() for x in reads), strict=True)]


def dcat_outputs(dcat, events_TD, event_lengths, candidates_ND, candidate_lengths, token_D=None, reads=None):
    """What `encode_context` and `cross` have to give: outputs at the events and at the candidates."""
    states, crossed = [events_TD[:0]], [candidates_ND[:0]]
    for history in split(events_TD, event_lengths):
        if len(history):
            states.append(causal_transformer(dcat, history))
    for history, candidates in zip(
        parts_read(events_TD, event_lengths, reads), split(candidates_ND, candidate_lengths), strict=True
    ):
        before = history if token_D is None else torch.cat([history, token_D[None]])
        for candidate in candidates:
            crossed.append(causal_transformer(dcat, torch.cat([before, candidate[None]]))[-1:])
    return torch.cat(states), torch.cat(crossed)


def phi(head, x):
    """A two-layer MLP, scaled to length 1."""
    first, last = (layer for layer in head.mlp if isinstance(layer, torch.nn.Linear))
    y = F.gelu(x @ first.weight.T + first.bias) @ last.weight.T + last.bias
    return y / y.norm(dim=-1, keepdim=True)


def token(tokens, parts):
    """phi_in, its components about 1 each."""
    projected = phi(tokens.phi_in, parts)
    return projected * math.sqrt(len(projected))


def gap_vector(tokens, seconds):
    """The embedding of a gap in half-octaves; None where there is no event before."""
    return tokens.gap.weight[NUM_GAP_BUCKETS if seconds is None else gap_bucket(seconds)]


def gap_bucket(seconds):
    """floor(2 log2(1 + gap)) in whole numbers of any length, the last bucket for all that is larger."""
    return min(NUM_GAP_BUCKETS, ((1 + max(seconds, 0)) ** 2).bit_length()) - 1


def event_tokens(tokens, history, item_TE):
    rows = []
    for times, actions, surfaces, items in zip(
        *(split(x, history.lengths.tolist()) for x in (history.timestamp, history.action, history.surface, item_TE)),
        strict=True,
    ):
        for i in range(len(times)):
            gap = None if i == 0 else int(times[i] - times[i - 1])
            parts = items[i] + tokens.action.weight[actions[i]] + tokens.surface.weight[surfaces[i]]
            rows.append(token(tokens, parts + gap_vector(tokens, gap)))
    return torch.stack(rows) if rows else item_TE.new_zeros(0, tokens.phi_in.mlp[-1].out_features)


def candidate_tokens(tokens, history, candidates, item_NE, reads=None):
    rows = []
    surfaces = [None] * len(candidates.lengths) if candidates.surface is None else candidates.surface
    for now, surface, times, items in zip(
        candidates.request_timestamp,
        surfaces,
        parts_read(history.timestamp, history.lengths.tolist(), reads),
        split(item_NE, candidates.lengths.tolist()),
        strict=True,
    ):
        for item in items:
            gap = int(now - times[-1]) if len(times) else None
            parts = item + tokens.action.weight[-1] + gap_vector(tokens, gap)
            rows.append(token(tokens, parts if surface is None else parts + tokens.surface.weight[surface]))
    return torch.stack(rows) if rows else item_NE.new_zeros(0, tokens.phi_in.mlp[-1].out_features)


def encoder_outputs(encoder, history, candidates, item_TE, item_NE, reads=None):
    """H of every event and the features of every candidate, for early fusion without dropout."""
    if candidates.content.size(1):
        lengths = candidates.content.norm(dim=1, keepdim=True)
        directions = candidates.content / torch.where(lengths > 0, lengths, 1.0)
        item_NE = item_NE + directions @ encoder.content.projection.weight.T
    states, crossed = dcat_outputs(
        encoder.fusion.dcat,
        event_tokens(encoder.tokens, history, item_TE),
        history.lengths.tolist(),
        candidate_tokens(encoder.tokens, history, candidates, item_NE, reads),
        candidates.lengths.tolist(),
        getattr(encoder.fusion, "token_D", None),
        reads,
    )
    if isinstance(encoder.request_time, RequestTime):
        states = states + encoder.request_time.gap.weight[next_gaps(history)]
    return phi(encoder.phi_out, states), phi(encoder.phi_out, crossed)


def next_gaps(history):
    """Bucket of the gap to the event after each; the bucket after all others where there is none."""
    gaps, first = [], 0
    for length in history.lengths.tolist():
        times = history.timestamp[first : first + length].tolist()
        gaps += [gap_bucket(b - a) for a, b in itertools.pairwise(times)]
        gaps += [NUM_GAP_BUCKETS] * bool(length)
        first += length
    return gaps
