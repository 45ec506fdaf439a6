"""FuxiCTR's weights as the state of our forms, where both compute the same function: one function a form.

Each takes a model of FuxiCTR's zoo and returns what our form's `load_state_dict` takes.
"""

import torch
from torch import Tensor, nn

State = dict[str, Tensor]


def none(model: nn.Module) -> State:
    """Of a form without weights."""
    return {}


def full_rank_cross(model: nn.Module) -> State:
    """DCNv2's layers, of which our first stands apart."""
    layers = {_nth("first.linear", "later", i): layer for i, layer in enumerate(model.crossnet.cross_layers)}
    return _linears(layers)


def mixture_cross(model: nn.Module) -> State:
    """DCNv2's mixtures: all experts' V and the gates are one matrix in ours, and every layer has gates of its own."""
    net, state = model.crossnet, {}
    gates = torch.cat([gate.weight for gate in net.gating])
    for i, (u, v, c, bias) in enumerate(zip(net.U_list, net.V_list, net.C_list, net.bias, strict=True)):
        experts = _nth("first_experts", "later", i, ".1")
        state[f"{_nth('first_down.linear', 'later', i, '.0')}.weight"] = torch.cat([*v.transpose(1, 2), gates])
        state[f"{experts}.within_EKK"] = c
        state[f"{experts}.up.weight"] = torch.cat([*u], dim=1)
        state[f"{experts}.up.bias"] = bias.flatten()
    return state


def gated_cross(model: nn.Module) -> State:
    """GDCN's layers: the bias stands beside the matrix there."""
    net, state = model.cross_net, {}
    for i, (cross, gate, bias) in enumerate(zip(net.w, net.wg, net.b, strict=True)):
        state[f"{_nth('first_cross.linear', 'later', i, '.cross')}.weight"] = cross.weight
        state[f"{_nth('first_cross.linear', 'later', i, '.cross')}.bias"] = bias
        state[f"{_nth('first_gate.linear', 'later', i, '.gate')}.weight"] = gate.weight
    return state


def mask_net(model: nn.Module) -> State:
    """MaskNet's blocks, parallel or serial: the first product of all masks is one in ours."""
    blocks = model.mask_net.mask_blocks
    state = {
        "norm.gain_FD": torch.stack([norm.weight for norm in model.emb_norm]),
        "norm.bias_FD": torch.stack([norm.bias for norm in model.emb_norm]),
    }
    state |= {
        f"aggregate.linear.{name}": torch.cat([getattr(block.mask_layer[0], name) for block in blocks])
        for name in _PAIR
    }
    for i, block in enumerate(blocks):
        state |= _linears({f"blocks.{i}.mask": block.mask_layer[2], f"blocks.{i}.norm": block.hidden_layer[1]})
        state[f"blocks.{i}.hidden.weight"] = block.hidden_layer[0].weight
    return state


def autoint(model: nn.Module) -> State:
    """AutoInt's layers; its residual is the vector itself, so that our W_res is the identity."""
    state = {}
    for i, layer in enumerate(model.self_attention):
        maps = [layer.W_q.weight, layer.W_k.weight, layer.W_v.weight]
        state[f"layers.{i}.projection.weight"] = torch.cat([*maps, torch.eye(len(maps[0]))])
    return state


def wukong(model: nn.Module) -> State:
    """WuKong's layers, but for the bias of a residual map."""
    state = {}
    for i, layer in enumerate(model.wukong_stack):
        machine, block = f"layers.{i}.machine", layer.fmb
        state[f"{machine}.sums.linear.weight"] = block.proj_Y.t()
        linears = [module for module in block.mlp.mlp if isinstance(module, nn.Linear)]
        mlp = {f"{machine}.mlp.{3 * j}": linear for j, linear in enumerate(linears)}  # GELU and dropout stand between
        state |= _linears({f"{machine}.norm": block.layer_norm, f"layers.{i}.end.norm": layer.layer_norm, **mlp})
        state[f"layers.{i}.linear.linear.weight"] = layer.lcb.linear.weight
        if hasattr(layer, "residual_proj"):
            state[f"layers.{i}.end.shortcut.linear.weight"] = layer.residual_proj.weight
    return state


def compressed_interaction(model: nn.Module) -> State:
    """xDeepFM's CIN, whose pairs begin with the vectors, ours with the maps; but for the biases of its maps."""
    state, columns = {}, model.feature_map.num_fields
    for i, layer in enumerate(model.cin.cin_layer.values()):
        weight_HFI = layer.weight.view(len(layer.weight), columns, -1)
        state[f"layers.{i}.weight"] = weight_HFI.transpose(1, 2).flatten(1)
    return state


def as_our_cin(model: nn.Module) -> None:
    """No bias of its maps."""
    for layer in model.cin.cin_layer.values():
        nn.init.zeros_(layer.bias)


def final_mlp(model: nn.Module) -> State:
    """FinalMLP's gates and streams, and the linear map of what ours gives that is its logit."""
    fusion, state = model.fusion_module, {}
    for name, gate, stream in (
        ("first", model.fs_module.fs1_gate.mlp, model.mlp1.mlp),
        ("second", model.fs_module.fs2_gate.mlp, model.mlp2.mlp),
    ):
        state |= _linears({f"{name}_gate.layers.0": gate[0], f"{name}_gate.layers.2": gate[2]})
        state |= _linears({f"{name}.linear": stream[0], f"{name}_rest.1": stream[2]})
    products = fusion.w_xy.view(fusion.num_heads, fusion.head_x_dim, fusion.head_y_dim)
    state |= {f"heads.{i}.weight": product.t() for i, product in enumerate(products)}
    ones = torch.ones(1, fusion.num_heads * fusion.head_y_dim)
    state["tail.weight"] = torch.cat([fusion.w_x.weight, fusion.w_y.weight, ones], dim=1)
    state["tail.bias"] = fusion.w_x.bias + fusion.w_y.bias
    return state


def as_our_final_mlp(model: nn.Module) -> None:
    """Its gates read the columns' own tables."""
    tables = model.embedding_layer.embedding_layer.embedding_layers
    for context in (model.fs_module.fs1_ctx_emb, model.fs_module.fs2_ctx_emb):
        for name in context.embedding_layer.embedding_layers:
            context.embedding_layer.embedding_layers[name] = tables[name]


def as_our_wukong(model: nn.Module) -> None:
    """Its activations as ours, and no bias of a residual map."""
    for layer in model.wukong_stack:
        *hidden, last = [i for i, module in enumerate(layer.fmb.mlp.mlp) if isinstance(module, nn.ReLU)]
        for i in hidden:
            layer.fmb.mlp.mlp[i] = nn.GELU()
        layer.fmb.mlp.mlp[last] = nn.Identity()
        if hasattr(layer, "residual_proj"):
            nn.init.zeros_(layer.residual_proj.bias)


_PAIR = ("weight", "bias")


def _nth(first: str, others: str, i: int, part: str = "") -> str:
    """The name of a layer in a form whose first layer, which is split by request, stands apart."""
    return f"{others}.{i - 1}{part}" if i else first


def _linears(layers: dict[str, nn.Module]) -> State:
    """Weights and biases, by the name of the layer in ours."""
    return {f"{ours}.{name}": getattr(layer, name) for ours, layer in layers.items() for name in _PAIR}
