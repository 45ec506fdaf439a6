"""Pre-LN GPT-2 style blocks with rotary positions, split so that a history is encoded once and candidates join later.

    T  rows of all histories     N  rows of all candidates     D  width     H  heads     d  width of a head
    S  histories

Everything runs on the jagged rows.
Sources: GPT-2 (Radford et al. 2019), rotary positions (Su et al. 2021), DCAT (PinFM, arXiv 2507.12704).
"""

from typing import Optional

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from pinfm.model.attention.merged import attend_causally, attend_history_and_self
from pinfm.model.attention.visibility import Crossing, Histories
from pinfm.model.config import FeedForward
from pinfm.model.layers.mlp import feed_forward


class Block(nn.Module):
    """One transformer block with a context and a crossing form over the same weights.

    Args:
        dim: D.
        num_heads: H; divides D into heads of an even width.
        dropout: on the attention output and on the MLP output.
        mlp: kind of the pointwise half.
        attention_gate: multiply what attention returns by a gate that reads the row itself.
    """

    def __init__(
        self,
        dim: int,
        num_heads: int,
        dropout: float,
        mlp: FeedForward = "gelu",
        attention_gate: bool = False,
    ) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.attention_norm = nn.LayerNorm(dim)
        self.query_key_value = nn.Linear(dim, 3 * dim)
        self.attention_gate = SiluGate(dim) if attention_gate else NoGate()
        self.attention_out = nn.Linear(dim, dim)
        self.mlp_norm = nn.LayerNorm(dim)
        self.mlp = feed_forward(mlp, dim)
        self.dropout = nn.Dropout(dropout)

    def keys_and_values(self, normed_TD: Tensor, angles_T: Tensor) -> tuple[Tensor, Tensor]:
        """What later rows of a sequence need of the histories.

        Args:
            normed_TD: `attention_norm` of the event rows.
            angles_T: (T, 2, d / 2) from `RotaryPositions`.

        Returns:
            Keys and values, each (T, H, d).
        """
        dim = normed_TD.size(1)
        projected = F.linear(normed_TD, self.query_key_value.weight[dim:], self.query_key_value.bias[dim:])
        keys_THd, values_THd = self._heads(projected)
        # A view of the values would keep the keys' projection in memory for as long as somebody keeps the context.
        return rotate(keys_THd, angles_T), values_THd.contiguous()

    def context(
        self,
        x_TD: Tensor,
        normed_TD: Tensor,
        angles_T: Tensor,
        keys_THd: Tensor,
        values_THd: Tensor,
        among: Histories,
    ) -> Tensor:
        """Causal self-attention over the histories, the first half of the block.

        Args:
            x_TD: event rows.
            normed_TD: `attention_norm` of them.
            angles_T: (T, 2, d / 2) from `RotaryPositions`.
            keys_THd: of the same rows.
            values_THd: of the same rows.
            among: which events each event sees.

        Returns:
            (T, D).
        """
        dim = x_TD.size(1)
        projected = F.linear(normed_TD, self.query_key_value.weight[:dim], self.query_key_value.bias[:dim])
        query_THd = rotate(self._heads(projected)[0], angles_T)
        attended_THd = attend_causally(query_THd, keys_THd, values_THd, among)
        return self._with_attended(x_TD, normed_TD, attended_THd)

    def cross(
        self,
        x_ND: Tensor,
        angles_N: Optional[Tensor],  # noqa: UP045
        keys_THd: Tensor,
        values_THd: Tensor,
        sees: Crossing,
    ) -> Tensor:
        """Each candidate attends to its request's history and to itself, and to no other candidate: their first half.

        Args:
            x_ND: candidate rows.
            angles_N: (N, 2, d / 2); a candidate stands right after what it sees. None where that is position 0 for all.
            keys_THd: the events' keys in this layer.
            values_THd: the events' values in this layer.
            sees: which events each candidate sees.

        Returns:
            (N, D).
        """
        normed_ND = self.attention_norm(x_ND)
        query_NHd, key_NHd, value_NHd = self._heads(self.query_key_value(normed_ND))
        if angles_N is not None:
            query_NHd, key_NHd = rotate(query_NHd, angles_N), rotate(key_NHd, angles_N)
        attended_NHd = attend_history_and_self(query_NHd, key_NHd, value_NHd, keys_THd, values_THd, sees)
        return self._with_attended(x_ND, normed_ND, attended_NHd)

    def feed_forward(self, x_TD: Tensor) -> Tensor:
        """The pointwise half of the block, over the rows that either attention gave.

        It is a call of its own, so that queries, keys and values are freed before its wide layers ask for memory.

        Args:
            x_TD: rows of events or candidates.

        Returns:
            (T, D).
        """
        output_TD: Tensor = x_TD + self.dropout(self.mlp(self.mlp_norm(x_TD)))
        return output_TD

    def _heads(self, projected_TP: Tensor) -> list[Tensor]:
        """P = one D each for queries, keys or values -> (T, H, d) of each, without a copy."""
        dim = self.attention_out.in_features
        num_parts = projected_TP.size(1) // dim
        heads = projected_TP.view(projected_TP.size(0), num_parts, self.num_heads, dim // self.num_heads)
        return list(heads.unbind(1))

    def _with_attended(self, x_TD: Tensor, normed_TD: Tensor, attended_THd: Tensor) -> Tensor:
        attended_TD = self.attention_gate(attended_THd.flatten(1), normed_TD)
        output_TD: Tensor = x_TD + self.dropout(self.attention_out(attended_TD))
        return output_TD


class SiluGate(nn.Module):
    """attended * silu(W x): the gate of HSTU (Zhai et al. 2024, arXiv 2402.17152) on softmax attention.

    Args:
        dim: D.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.gate = nn.Linear(dim, dim)

    def forward(self, attended_TD: Tensor, normed_TD: Tensor) -> Tensor:
        """What attention returned for each row, and the normed row itself -> (T, D)."""
        gated_TD: Tensor = attended_TD * F.silu(self.gate(normed_TD))
        return gated_TD


class NoGate(nn.Module):
    """Everything passes."""

    def forward(self, attended_TD: Tensor, normed_TD: Tensor) -> Tensor:
        """See `SiluGate`."""
        return attended_TD


class RotaryPositions(nn.Module):
    """Positions as angles: inner products of queries and keys then depend on distances.

    Args:
        head_dim: d, even.
        base: the longest wavelength is about 2 pi times this.
    """

    def __init__(self, head_dim: int, base: float = 10_000.0) -> None:
        super().__init__()
        self.head_dim, self.base = head_dim, base

    def forward(self, positions_T: Tensor) -> Tensor:
        """Cosines and sines.

        Args:
            positions_T: int64 positions, counted from anywhere.

        Returns:
            (T, 2, d / 2) float32.
        """
        steps = torch.arange(0, self.head_dim, 2, device=positions_T.device, dtype=torch.float32)
        angles = positions_T[:, None].float() * torch.pow(self.base, -steps / self.head_dim)[None, :]
        return torch.stack([angles.cos(), angles.sin()], dim=1)


class NoPositions(nn.Module):
    """Angles of zero: order is left to causality alone.

    Args:
        head_dim: d, even.
    """

    def __init__(self, head_dim: int) -> None:
        super().__init__()
        self.head_dim = head_dim

    def forward(self, positions_T: Tensor) -> Tensor:
        """(T, 2, d / 2) float32; see `RotaryPositions`."""
        one_T1 = torch.ones(positions_T.size(0), self.head_dim // 2, device=positions_T.device)
        return torch.stack([one_T1, torch.zeros_like(one_T1)], dim=1)


def rotate(x_THd: Tensor, angles_T: Tensor) -> Tensor:
    """Turns each head's halves by the position's angles; inner products then depend on distances alone."""
    cos = angles_T[:, None, 0].to(x_THd.dtype)
    sin = angles_T[:, None, 1].to(x_THd.dtype)
    first, second = x_THd.chunk(2, dim=-1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], dim=-1)
