"""A transformer block of packed layers, for serving.

T  rows of all histories     P  rows of all tiles     D  width     H  heads     d  width of a head
"""

from typing import Protocol

import torch
from torch import Tensor, nn

from pinfm.inference.dense.packed import FloatLinear, Int8Linear
from pinfm.inference.dense.tiles import Tiles, attend_in_tiles
from pinfm.model.attention.merged import attend_causally
from pinfm.model.attention.visibility import Histories
from pinfm.model.layers.mlp import SwiGLU
from pinfm.model.layers.transformer import Block, SiluGate, rotate


class Pack(Protocol):
    """Packs a layer."""

    def __call__(self, name: str, linear: nn.Linear, gelu_before: str | None = None) -> Int8Linear | FloatLinear:
        """The packed layer.

        Args:
            name: the layer's within the model.
            linear: the trained one.
            gelu_before: name of the layer that alone reads what this one gives, through GELU; None without either.
        """


class PackedBlock(nn.Module):
    """What `Block` computes, of packed layers; queries apart from keys and values, as histories need them.

    Args:
        block: the trained block.
        name: its name within the model.
        pack: packs a layer.
    """

    def __init__(self, block: Block, name: str, pack: Pack) -> None:
        super().__init__()
        self.num_heads = block.num_heads
        self.attention_norm, self.mlp_norm = block.attention_norm, block.mlp_norm
        name_of_three, dim = f"{name}.query_key_value", block.attention_out.in_features
        self.queries = pack(name_of_three, rows_of_linear(block.query_key_value, 0, dim))
        self.keys_values = pack(name_of_three, rows_of_linear(block.query_key_value, dim, 3 * dim))
        gate = block.attention_gate
        self.gate = PackedGate(gate, f"{name}.attention_gate", pack) if isinstance(gate, SiluGate) else gate
        self.attention_out = pack(f"{name}.attention_out", block.attention_out)
        self.mlp = packed_mlp(block.mlp, f"{name}.mlp", pack)

    def keys_and_values(self, normed_TD: Tensor, angles_T: Tensor) -> tuple[Tensor, Tensor]:
        """See `Block.keys_and_values`."""
        keys_THd, values_THd = self._keys_and_values(normed_TD)
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
        """See `Block.context`."""
        query_THd = rotate(self._queries(normed_TD), angles_T)
        return self._with_attended(x_TD, normed_TD, attend_causally(query_THd, keys_THd, values_THd, among))

    def cross(self, x_PD: Tensor, keys_THd: Tensor, values_THd: Tensor, tiles: Tiles) -> Tensor:
        """Each candidate attends to its request's history and to itself: the first half of the block.

        Args:
            x_PD: candidates in tiles; each stands right after its history, at position 0.
            keys_THd: the events' keys in this layer.
            values_THd: the events' values in this layer.
            tiles: who reads what.

        Returns:
            (P, D).
        """
        normed_PD = self.attention_norm(x_PD)
        key_PHd, value_PHd = self._keys_and_values(normed_PD)
        attended_PHd = attend_in_tiles(self._queries(normed_PD), key_PHd, value_PHd, keys_THd, values_THd, tiles)
        return self._with_attended(x_PD, normed_PD, attended_PHd)

    def feed_forward(self, x_TD: Tensor) -> Tensor:
        """The pointwise half of the block: (T, D) -> (T, D)."""
        output_TD: Tensor = x_TD + self.mlp(self.mlp_norm(x_TD))
        return output_TD

    def _queries(self, normed_TD: Tensor) -> Tensor:
        queries_THd: Tensor = self.queries(normed_TD).unflatten(1, [self.num_heads, -1])
        return queries_THd

    def _keys_and_values(self, normed_TD: Tensor) -> tuple[Tensor, Tensor]:
        keys_TD, values_TD = self.keys_values(normed_TD).chunk(2, dim=1)
        return keys_TD.unflatten(1, [self.num_heads, -1]), values_TD.unflatten(1, [self.num_heads, -1])

    def _with_attended(self, x_TD: Tensor, normed_TD: Tensor, attended_THd: Tensor) -> Tensor:
        output_TD: Tensor = x_TD + self.attention_out(self.gate(attended_THd.flatten(1), normed_TD))
        return output_TD


class PackedMLP(nn.Module):
    """Two packed layers with GELU between them.

    Args:
        layers: Linear, GELU, maybe Dropout, Linear.
        name: of them within the model.
        pack: packs a layer.
    """

    def __init__(self, layers: nn.Sequential, name: str, pack: Pack) -> None:
        super().__init__()
        (first, in_front), (last, behind) = (
            (key, layer) for key, layer in layers.named_children() if isinstance(layer, nn.Linear)
        )
        self.first = pack(f"{name}.{first}", in_front, f"{name}.{last}")
        self.last = pack(f"{name}.{last}", behind)

    def forward(self, x: Tensor) -> Tensor:
        """(N, width in) -> (N, width out)."""
        output: Tensor = self.last(self.first(x))
        return output


class PackedSwiGLU(nn.Module):
    """What `SwiGLU` computes, of packed layers.

    Args:
        layer: the trained one.
        name: its name within the model.
        pack: packs a layer.
    """

    def __init__(self, layer: SwiGLU, name: str, pack: Pack) -> None:
        super().__init__()
        self.gate_and_value = pack(f"{name}.gate_and_value", layer.gate_and_value)
        self.out = pack(f"{name}.out", layer.out)

    def forward(self, x: Tensor) -> Tensor:
        """(N, D) -> (N, D)."""
        gate, value = self.gate_and_value(x).chunk(2, dim=-1)
        output: Tensor = self.out(silu(gate) * value)
        return output


class PackedGate(nn.Module):
    """What `SiluGate` computes, of a packed layer.

    Args:
        layer: the trained one.
        name: its name within the model.
        pack: packs a layer.
    """

    def __init__(self, layer: SiluGate, name: str, pack: Pack) -> None:
        super().__init__()
        self.gate = pack(f"{name}.gate", layer.gate)

    def forward(self, attended_TD: Tensor, normed_TD: Tensor) -> Tensor:
        """See `SiluGate`."""
        gated_TD: Tensor = attended_TD * silu(self.gate(normed_TD))
        return gated_TD


def silu(x: Tensor) -> Tensor:
    """x * sigmoid(x), with the same bits wherever in a tensor a number stands, which torch's own does not give."""
    return x / (1.0 + torch.exp(-x))


def packed_mlp(layers: nn.Module, name: str, pack: Pack) -> PackedMLP | PackedSwiGLU:
    """The pointwise half of a block, or an MLP of two layers, packed."""
    if isinstance(layers, SwiGLU):
        return PackedSwiGLU(layers, name, pack)
    assert isinstance(layers, nn.Sequential)
    return PackedMLP(layers, name, pack)


def rows_of_linear(linear: nn.Linear, start: int, end: int) -> nn.Linear:
    """The layer that computes some of another's outputs."""
    part = nn.Linear(linear.in_features, end - start)
    part.weight, part.bias = nn.Parameter(linear.weight[start:end]), nn.Parameter(linear.bias[start:end])
    return part
