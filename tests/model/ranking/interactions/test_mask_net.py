"""MaskNet against its formula, and its parallel form against blocks that stand in parallel."""

import pytest
import torch
from interaction_fakes import SHAPE, assert_is, built, numbers, random_fields

from pinfm.embeddings.errors import UserError
from pinfm.model.ranking.interactions.build import build_interaction, out_shape_of
from pinfm.model.ranking.interactions.parts.fields import FieldShape

SETTINGS = {"blocks": 3, "width": 6, "projection_ratio": 1.5}
SHAPES = pytest.mark.parametrize("shape", [SHAPE, FieldShape(0, 2, 4), FieldShape(2, 0, 4), FieldShape(1, 1, 2)])


def normed(x, gain, bias):
    centred = x - x.mean(dim=-1, keepdim=True)
    return centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * gain + bias


def block_output(block, aggregated, x):
    """One block of the paper, from W_1 v + b_1 and what it masks."""
    mask = aggregated.clamp(min=0) @ block.mask.weight.T + block.mask.bias
    return normed((mask * x) @ block.hidden.weight.T, block.norm.weight, block.norm.bias).clamp(min=0)


def mask_inputs(form, x_NFD):
    """W_1 v + b_1 of every block as one, and the normalised vectors."""
    linear = form.aggregate.linear
    aggregated = x_NFD.flatten(1) @ linear.weight.T + linear.bias
    return aggregated, normed(x_NFD, form.norm.gain_FD, form.norm.bias_FD).flatten(1)


@SHAPES
def test_parallel_blocks_all_mask_the_vectors(shape):
    def reference(form, x_NFD):
        aggregated, x = mask_inputs(form, x_NFD)
        width = round(1.5 * x.size(1))
        masks = [aggregated[:, i * width : (i + 1) * width] for i in range(3)]
        return torch.cat([block_output(block, mask, x) for block, mask in zip(form.blocks, masks, strict=True)], dim=1)

    assert_is({"form": "mask_net_parallel", **SETTINGS}, reference, shape)


@SHAPES
def test_serial_blocks_mask_what_the_one_before_gives(shape):
    def reference(form, x_NFD):
        aggregated, x = mask_inputs(form, x_NFD)
        for block in form.blocks:
            width = round(1.5 * x.size(1))
            x, aggregated = block_output(block, aggregated[:, :width], x), aggregated[:, width:]
        assert aggregated.size(1) == 0
        return x

    assert_is({"form": "mask_net_serial", **SETTINGS}, reference, shape)


def test_parallel_blocks_are_nets_of_one_block_in_parallel():
    together = built({"form": "mask_net_parallel", **SETTINGS, "blocks": 2})
    one = {"form": "mask_net_parallel", **SETTINGS, "blocks": 1}
    apart = built({"parallel": [one, one]})
    assert out_shape_of(together) == out_shape_of(apart) == (0, 2, 6)
    weights = together.state_dict()
    for i, part in enumerate(apart.parts):
        own = {name.replace(f"blocks.{i}.", "blocks.0."): weight for name, weight in weights.items()}
        for name in ("aggregate.linear.weight", "aggregate.linear.bias"):
            own[name] = weights[name].chunk(2)[i]
        part.load_state_dict({name: own[name] for name in part.state_dict()})
    fields = random_fields([2, 0, 3])
    torch.testing.assert_close(numbers(together(fields)), numbers(apart(fields)))


@pytest.mark.parametrize(
    ("name", "count"),
    [
        (
            "mask_net_parallel",
            lambda W, width, blocks, T, H: 2 * W + blocks * (T * (W + 1) + W * (T + 1) + width * W + 2 * width),
        ),
        (
            "mask_net_serial",
            lambda W, width, blocks, T, H: (
                (2 * W + T * (W + 1) + W * (T + 1) + width * W + 2 * width)
                + (blocks - 1) * (H * (W + 1) + width * (H + 1) + width**2 + 2 * width)
            ),
        ),
    ],
)
def test_parameters_are_as_many_as_it_says(name, count):
    form = build_interaction({"form": name, **SETTINGS}, SHAPE)
    assert sum(weight.numel() for weight in form.parameters()) == count(W=20, width=6, blocks=3, T=30, H=9)


def test_the_final_form_of_the_paper_is_masks_and_then_crosses_alone():
    masks, crosses = built("pinterest").parts
    assert (out_shape_of(masks), masks.blocks[0].mask.in_features) == ((0, 3, 512), 2 * SHAPE.width())
    assert (out_shape_of(crosses), len(crosses.ups)) == ((0, 3, 512), 4)


@pytest.mark.parametrize("name", ["mask_net_parallel", "mask_net_serial"])
def test_what_has_no_mask_is_refused(name):
    sentence = (
        r"^ranker\.interaction\.projection_ratio \(0\.02\) leaves the mask of 20 numbers without a hidden layer; "
        r"it must be at least 0\.05\.$"
    )
    with pytest.raises(UserError, match=sentence):
        build_interaction({"form": name, "projection_ratio": 0.02}, SHAPE)
    with pytest.raises(UserError, match=f"^ranker\\.interaction: {name} reads feature vectors, but what stands before"):
        build_interaction(name, FieldShape(0, 8, 1))
