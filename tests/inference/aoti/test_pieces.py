"""Ragged requests cut into padded pieces: the stages on them give what the whole module gives, for every variant."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_module import BATCHES, VARIANTS, build, inputs_of

from pinfm.inference.aoti.build import bounds_of, stages_of
from pinfm.inference.aoti.packages import Packages
from pinfm.inference.aoti.pieces import Bounds, Pieces
from pinfm.model.ranking.adapted import AdaptedRanker

SMALL = Bounds(requests=2, events=8, candidates=3, slots=6)


def packages_of(module, bounds):
    """The stages as they are, not compiled, behind scripted pieces."""
    stages = {name: stage.function for name, stage in stages_of(module, bounds_of(8)).items()}
    pieces = torch.jit.script(Pieces(bounds, has_tower="encode" in stages))
    return Packages(module, pieces, stages)


@pytest.mark.parametrize("bounds", [bounds_of(8), SMALL], ids=["large", "small"])
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_stages_on_pieces_score_as_the_module(options, bounds):
    module, schema = build(**options)
    packages = packages_of(module, bounds)
    for lengths in [*BATCHES.values(), [(5, 7), (0, 1100), (8, 3), (7, 7), (3, 1)]]:
        inputs = inputs_of(schema, lengths)
        torch.testing.assert_close(packages(inputs), module(inputs), rtol=0, atol=1e-5)


def test_a_model_that_adapts_histories_has_no_stages_on_blocks():
    module, schema = build()
    inputs = inputs_of(schema, [(3, 2)])
    module.model = AdaptedRanker(module.model, torch.nn.Identity())
    with pytest.raises(ValueError, match="the model adapts histories, which stages on blocks do not"):
        module.looked_up(inputs)


@given(
    st.lists(st.tuples(st.integers(0, 8), st.integers(0, 9)), min_size=1, max_size=12),
    st.builds(Bounds, st.integers(1, 3), st.just(8), st.integers(1, 4), st.integers(1, 9)),
)
@torch.no_grad()
def test_pieces_hold_every_candidate_once_and_are_within_their_bounds(lengths, bounds):
    module, schema = build()
    looked_up = module.looked_up(inputs_of(schema, lengths))
    found, encoded = [], torch.zeros(0)
    for piece in Pieces(bounds, has_tower=True)(looked_up):
        slots_M, rows_M = piece["places"]
        if "encode" in piece:
            item, *codes, lengths_P = piece["encode"]
            assert item.size(0) <= bounds.requests
            assert 2 <= item.size(1) <= max(2, bounds.events)
            # Never more than half padding.
            assert item.size(1) < 2 * max(2, int(lengths_P.min()))
            assert [code.shape for code in codes] == [item.shape[:2]] * 3
            encoded = lengths_P
        lengths_P, item_PCE, content_PCK, *of_requests = piece["cross"]
        assert torch.equal(lengths_P, encoded)
        assert item_PCE.size(1) <= bounds.candidates
        assert item_PCE.size(0) == 1 or item_PCE.shape[:2].numel() <= bounds.slots
        assert content_PCK.shape[:2] == item_PCE.shape[:2]
        assert all(values.size(0) == item_PCE.size(0) for values in of_requests)
        assert torch.equal(item_PCE.flatten(0, 1)[slots_M], looked_up["item"][rows_M])
        assert torch.equal(piece["rank"][0], looked_up["item"][rows_M])
        found.append(rows_M)
    everything = torch.cat(found) if found else torch.zeros(0)
    assert everything.sort().values.tolist() == list(range(sum(count for _, count in lengths)))
