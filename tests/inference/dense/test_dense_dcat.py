"""The packed transformer gives what the trained one gives, and a candidate the same bits alone and in any batch."""

import io

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from model_fakes import roughen

from pinfm.inference.dense.dcat import PackedDCAT
from pinfm.inference.dense.pack import packed_names
from pinfm.inference.dense.packed import FloatLinear, Int8Linear, Levels
from pinfm.model.config import TowerConfig
from pinfm.model.encoder import build_dcat
from pinfm.model.inputs import Reads

WIDTH = 32
VARIANTS = {
    "gelu": {},
    "swiglu": {"mlp": "swiglu"},
    "gate": {"attention_gate": True},
    "no positions": {"positions": "none"},
    "one head": {"num_heads": 1},
}


def trained(**options):
    tower = TowerConfig(**{"num_layers": 2, "dim": WIDTH, "num_heads": 4, "dropout": 0.0, **options})
    return roughen(build_dcat(tower)).eval().requires_grad_(False)


def in_floats(name, linear, gelu_before=None):
    return FloatLinear(linear, gelu_before is not None)


def in_bytes(name, linear, gelu_before=None):
    levels = Levels.between(-4.0, 4.0)
    return Int8Linear(linear, levels, gelu_before is not None, levels if gelu_before else None)


class Scores(torch.nn.Module):
    """What candidates are given, history and all."""

    def __init__(self, dcat):
        super().__init__()
        self.dcat = dcat

    def forward(self, events, lengths, candidates, counts):
        return self.dcat.cross(self.dcat.encode_context(events, lengths), candidates, counts)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_in_float32_it_is_the_trained_transformer(options):
    dcat = trained(**options)
    packed = PackedDCAT(dcat, "dcat", in_floats).eval()
    lengths, counts = torch.tensor([5, 0, 40, 1]), torch.tensor([2, 3, 33, 0])
    events, candidates = torch.randn(46, WIDTH), torch.randn(38, WIDTH)
    expected, found = dcat.encode_context(events, lengths), packed.encode_context(events, lengths)
    close = {"rtol": 1e-5, "atol": 2e-5}
    torch.testing.assert_close(found, expected, **close)
    torch.testing.assert_close(packed.outputs(found), dcat.outputs(expected), **close)
    rows = torch.tensor([0, 4, 30, 45])
    torch.testing.assert_close(packed.outputs_at(found, rows), dcat.outputs_at(expected, rows), **close)
    for reads in (None, Reads(torch.tensor([0, 0, 2, 2]), lengths[[0, 0, 2, 2]])):
        theirs = dcat.cross(expected, candidates, counts, reads)
        torch.testing.assert_close(packed.cross(found, candidates, counts, reads), theirs, **close)


def test_a_request_that_sees_a_part_of_its_history_is_none_of_serving():
    packed = PackedDCAT(trained(), "dcat", in_floats).eval()
    context = packed.encode_context(torch.randn(5, WIDTH), torch.tensor([5]))
    with pytest.raises(AssertionError, match="sees a part of a history"):
        packed.cross(context, torch.randn(1, WIDTH), torch.tensor([1]), Reads(torch.tensor([0]), torch.tensor([4])))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_candidate_has_the_same_bits_alone_and_in_any_batch(options):
    module = Scores(PackedDCAT(trained(**options), "dcat", in_bytes)).eval()
    file = io.BytesIO()
    torch.jit.save(torch.jit.freeze(torch.jit.script(module), preserved_attrs=packed_names(module)), file)
    file.seek(0)
    scores = torch.jit.load(file)
    events, candidates = torch.randn(400, WIDTH), torch.randn(400, WIDTH)
    sizes = st.sampled_from([0, 1, 2, 3, 17]) | st.integers(0, 70)

    @given(st.lists(st.tuples(sizes, sizes), min_size=1, max_size=5), st.data())
    def same(requests, data):
        lengths, counts = (torch.tensor(column) for column in zip(*requests, strict=True))
        whole = scores(events[: lengths.sum()], lengths, candidates[: counts.sum()], counts)
        asked = data.draw(st.integers(0, len(requests) - 1))
        first_event, first = int(lengths[:asked].sum()), int(counts[:asked].sum())
        history = events[first_event : first_event + lengths[asked]]
        for row in {first, first + int(counts[asked]) // 2} if counts[asked] else ():
            alone = scores(history, lengths[asked : asked + 1], candidates[row : row + 1], torch.tensor([1]))
            assert torch.equal(alone[0], whole[row])

    with torch.no_grad():
        same()
