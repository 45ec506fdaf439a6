"""Where adaptation meets the ranker and the tower: whatever reads a history reads the adapted one."""

from unittest.mock import patch

import pytest
import torch
from model_fakes import ITEM_DIM, NUM_ITEMS, collate, joint_model, random_requests, schema

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.one_device.lookup import MultiHashEmbedding
from pinfm.embeddings.specs import IdTable
from pinfm.model.adaptation.adapted import AdaptedVectors, TrustedEvents, build_adaptation
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.adaptation.reference import make_reference
from pinfm.model.config import ModelConfig, TowerConfig
from pinfm.model.encoder import build_encoder
from pinfm.model.inputs import Reads, own_histories
from pinfm.model.ranking.adapted import AdaptedRanker
from pinfm.model.ranking.joint import RankingInputs
from pinfm.model.tower import SequenceTower
from pinfm.model.views import keep_events

CODES = schema().positive_codes()
VECTORS = VectorAdaptationConfig(window=3, newest_events=4, radius=0.5, step_size=0.5)
# Above what any event of these towers has, which can't be 1 where another event can speak of it.
NOBODY = TrustConfig(threshold=1 - 1e-7)
FORMS = {"vectors": VECTORS, "trust": TrustConfig(threshold=0.5)}


def adapted_model(config, **options):
    """A model, the same adapted, and the vectors of its items."""
    model = joint_model(**options).requires_grad_(False)
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM)
    others = collate(random_requests([5, 7, 6], [0, 0, 0], item_VE))
    reference = make_reference(model.encoder, others.history, others.item_TE, CODES)
    return model, AdaptedRanker(model, build_adaptation(model.encoder, reference, config)).eval(), item_VE


def inputs_of(request):
    reads = own_histories(request.history.lengths)
    return RankingInputs(request.history, request.candidates, request.item_TE, request.item_NE, request.features, reads)


def test_each_config_has_its_form():
    made = {type(adapted_model(config)[1].adaptation) for config in FORMS.values()}
    assert made == {AdaptedVectors, TrustedEvents}


@pytest.mark.parametrize("options", [{}, {"token": True}, {"fusion": "lite_mean"}, {"fusion": "lite_last"}])
def test_at_a_threshold_of_0_nothing_is_dropped(options):
    model, adapted, item_VE = adapted_model(TrustConfig(threshold=0.0), history_counts=True, **options)
    inputs = inputs_of(collate(random_requests([5, 0, 3], [2, 1, 4], item_VE)))
    assert torch.equal(adapted.score(inputs), model.score(inputs))


def test_where_every_event_is_dropped_the_user_has_no_history():
    """Neither the tower, nor the ranker's counts, nor the time of the newest event know of one."""
    model, adapted, item_VE = adapted_model(NOBODY, history_counts=True)
    request = collate(random_requests([5, 3], [2, 4], item_VE))
    empty = keep_events(request.history, torch.zeros(8, dtype=torch.bool))
    expected = model.score(inputs_of(request._replace(history=empty, item_TE=request.item_TE[:0])))
    assert torch.equal(adapted.score(inputs_of(request)), expected)
    assert not torch.equal(model.score(inputs_of(request)), expected)


def test_the_events_that_stay_are_what_is_read():
    model, adapted, item_VE = adapted_model(FORMS["trust"], history_counts=True)
    request = collate(random_requests([9, 7], [2, 4], item_VE))
    keep_T = adapted.adaptation.trust(request.history, request.item_TE) >= 0.5
    assert 0 < keep_T.sum() < 16
    context = model.encoder.fusion.keep(model.encoder.encode_context(request.history, request.item_TE), keep_T)
    kept = request._replace(history=keep_events(request.history, keep_T), item_TE=request.item_TE[keep_T])
    assert torch.equal(adapted.score(inputs_of(request)), model.against(context, inputs_of(kept))[0])


def test_moved_vectors_are_what_is_encoded():
    model, adapted, item_VE = adapted_model(VECTORS)
    request = collate(random_requests([9, 7], [2, 4], item_VE))
    moved_TE = adapted.adaptation.adapt(request.history, request.item_TE)
    expected = model.score(inputs_of(request._replace(item_TE=moved_TE)))
    torch.testing.assert_close(adapted.score(inputs_of(request)), expected, rtol=1e-5, atol=1e-5)
    assert (model.score(inputs_of(request)) - expected).abs().max() > 1e-3


@pytest.mark.parametrize("form", FORMS)
def test_a_user_s_scores_do_not_depend_on_who_stands_beside(form):
    _, adapted, item_VE = adapted_model(FORMS[form])
    requests = random_requests([9, 0, 7, 1], [2, 1, 4, 3], item_VE)
    together = adapted.score(inputs_of(collate(requests)))
    alone = torch.cat([adapted.score(inputs_of(request)) for request in requests])
    torch.testing.assert_close(together, alone, rtol=1e-5, atol=1e-5)


def test_a_part_of_a_history_is_refused():
    _, adapted, item_VE = adapted_model(NOBODY)
    inputs = inputs_of(collate(random_requests([5], [2], item_VE)))
    with pytest.raises(AssertionError, match="a request sees a part of a history"):
        adapted.score(inputs._replace(reads=Reads(torch.tensor([0]), torch.tensor([4]))))


@pytest.mark.parametrize("form", FORMS)
def test_a_tower_adapts_once_for_all_candidates(form):
    table = IdTable(name="item", num_hashes=2, rows=50, dim=ITEM_DIM // 2)
    lookup = MultiHashEmbedding(table).requires_grad_(False)
    model = joint_model().requires_grad_(False)
    requests = collate(random_requests([9, 7], [2, 4], torch.zeros(NUM_ITEMS, ITEM_DIM)))
    plain = SequenceTower(lookup, model.encoder)
    tower = plain.adapted(FORMS[form], requests.history, CODES)
    assert not tower.training
    assert {name for name, _ in plain.state_dict().items()} == {
        name for name, _ in tower.state_dict().items() if not name.startswith("adaptation.")
    }
    cached = tower.encode_context(requests.history)
    history, context = tower.adaptation(requests.history, lookup(requests.history.item_id))
    expected = model.encoder.cross(context, history, requests.candidates, lookup(requests.candidates.item_id))
    with patch.object(type(tower.adaptation), "forward", side_effect=AssertionError("it was adapted again")):
        assert torch.equal(tower.score(cached, requests.candidates), expected)
    assert not torch.equal(plain(requests.history, requests.candidates), expected)


def test_a_tower_with_tied_heads_weighs_events_and_refuses_to_move_them():
    tower = TowerConfig(num_layers=1, dim=ITEM_DIM, out_dim=ITEM_DIM, num_heads=1, heads="tied")
    encoder = build_encoder(ModelConfig(tower=tower), schema(), ITEM_DIM)
    lookup = MultiHashEmbedding(IdTable(name="item", num_hashes=1, rows=50, dim=ITEM_DIM)).requires_grad_(False)
    plain = SequenceTower(lookup, encoder.requires_grad_(False))
    requests = collate(random_requests([9, 7], [2, 4], torch.zeros(NUM_ITEMS, ITEM_DIM)))
    trusted = plain.adapted(TrustConfig(threshold=0.5), requests.history, CODES)
    trust_T = trusted.adaptation.trust(requests.history, lookup(requests.history.item_id))
    assert ((trust_T >= 0) & (trust_T <= 1)).all()
    assert trusted(requests.history, requests.candidates).isfinite().all()
    with pytest.raises(UserError, match=r"tower\.heads tied does not have; take --adapt trust\.$"):
        plain.adapted(VECTORS, requests.history, CODES)


def test_histories_without_a_positive_event_are_nothing_to_hold_others_against():
    item_VE = torch.zeros(NUM_ITEMS, ITEM_DIM)
    request = collate(random_requests([5], [0], item_VE))
    with pytest.raises(UserError, match=r"has a positive action \(codes \[99\]\); give histories with some"):
        make_reference(joint_model().encoder, request.history, request.item_TE, [99])
