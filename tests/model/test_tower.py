"""The pretrained tower, for a ranker of one's own."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import NUM_ITEMS, collate, config, random_requests, roughen, schema
from reference import encoder_outputs
from run_fakes import ITEM_TABLE, write_checkpoint, write_manifest

import pinfm.model
from pinfm.embeddings.errors import UserError
from pinfm.embeddings.one_device.lookup import MultiHashEmbedding
from pinfm.model.encoder import build_encoder
from pinfm.model.inputs import Candidates, History
from pinfm.model.tower import SequenceTower


def make_tower(**options):
    content_dim = 3 if options.get("content") else 0
    return roughen(
        SequenceTower(MultiHashEmbedding(ITEM_TABLE), build_encoder(config(**options), schema(content_dim), 6))
    )


def batch(lengths=((4, 2), (0, 1), (2, 3)), content_dim=0):
    """Histories and candidates of any int64 ids; vectors come from the tower's own tables."""
    requests = collate(random_requests(*zip(*lengths, strict=True), torch.zeros(NUM_ITEMS, 6), content_dim))
    raw_ids = torch.empty(NUM_ITEMS, dtype=torch.int64).random_(-(2**63), None)
    history = requests.history._replace(item_id=raw_ids[requests.history.item_id])
    return history, requests.candidates._replace(item_id=raw_ids[requests.candidates.item_id])


def save(folder, tower, step=10, **options):
    """The names under which both kinds of run keep tables and encoder."""
    weights = {f"item_tables.{name}": x for name, x in tower.item_embedding.state_dict().items()}
    weights |= {f"objective.model.encoder.{name}": x for name, x in tower.encoder.state_dict().items()}
    write_manifest(folder, config(**options), content_dim=3 if options.get("content") else 0)
    write_checkpoint(folder, weights, step)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=4), st.integers(0, 2**32))
@settings(max_examples=15)
def test_raw_ids_give_one_feature_vector_a_candidate(lengths, seed):
    torch.manual_seed(seed)
    tower, (history, candidates) = make_tower().eval(), batch(lengths)
    features = tower(history, candidates)
    assert features.shape == (len(candidates.item_id), 5)
    lookup = tower.item_embedding
    _, expected = encoder_outputs(
        tower.encoder, history, candidates, lookup(history.item_id), lookup(candidates.item_id)
    )
    torch.testing.assert_close(features, expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", [{}, {"token": True}, {"fusion": "lite_mean"}])
@torch.no_grad()
def test_a_cached_context_scores_as_the_whole_call(options):
    tower, (history, candidates) = make_tower(**options).eval(), batch()
    cached, whole = tower.encode_context(history), tower(history, candidates)
    assert torch.equal(tower.score(cached, candidates), whole)
    # The second page of the first request, and nothing for the others.
    of_candidates = {name: getattr(candidates, name)[1:2] for name in ("item_id", "created_at", "content")}
    page = candidates._replace(lengths=torch.tensor([1, 0, 0]), **of_candidates)
    torch.testing.assert_close(tower.score(cached, page), whole[1:2], rtol=1e-5, atol=1e-6)


def test_a_cached_context_tells_its_memory():
    history, _ = batch([(4, 1), (2, 1)])
    kept = make_tower().encode_context(history)
    # Two layers of keys and values of width 8, one row an event, and the history itself with its lengths.
    assert kept.num_bytes() == 2 * 2 * 6 * 8 * 4 + 6 * 8 * 4 + (2 + 4 * 6) * 8
    # A learnable token is one row more in each of the two histories, whose own lengths say so.
    with_token = make_tower(token=True).encode_context(history)
    assert with_token.num_bytes() == kept.num_bytes() + 2 * (2 * 2 + 1) * 8 * 4 + 2 * 8


@pytest.mark.parametrize("options", [{}, {"token": True, "content": True}, {"fusion": "lite_mean"}])
def test_from_run_brings_every_weight_of_the_newest_checkpoint(tmp_path, options):
    older, newest = make_tower(**options), make_tower(**options)
    save(tmp_path, older, step=10, **options)
    save(tmp_path, newest, step=20, **options)
    tower = SequenceTower.from_run(tmp_path)
    loaded, saved = tower.state_dict(), newest.state_dict()
    assert loaded.keys() == saved.keys()
    for name in saved:
        assert torch.equal(loaded[name], saved[name]), name
    inputs = batch(content_dim=3 if options.get("content") else 0)
    assert torch.equal(tower.eval()(*inputs), newest.eval()(*inputs))


def test_from_run_gives_a_tower_that_trains(tmp_path):
    save(tmp_path, make_tower())
    tower = SequenceTower.from_run(str(tmp_path))
    assert tower.training
    tower.encoder.age_dropout.eval()
    history, candidates = batch()
    features = tower(history, candidates)
    (features * torch.randn_like(features)).sum().backward()
    for part in (tower.item_embedding.embeddings, tower.encoder.tokens, tower.encoder.fusion, tower.encoder.phi_out):
        for name, weight in part.named_parameters():
            assert weight.grad.any(), name


def test_the_tower_is_the_packages_public_face():
    assert pinfm.model.SequenceTower is SequenceTower
    assert (pinfm.model.History, pinfm.model.Candidates) == (History, Candidates)


def test_from_run_needs_a_run_folder(tmp_path):
    with pytest.raises(UserError, match=r"is not a run folder: it has no manifest\.json"):
        SequenceTower.from_run(tmp_path)


def test_from_run_needs_a_checkpoint(tmp_path):
    write_manifest(tmp_path)
    with pytest.raises(UserError, match=r"has no checkpoint yet"):
        SequenceTower.from_run(tmp_path)


def test_from_run_needs_a_run_with_a_tower(tmp_path):
    write_manifest(tmp_path, config(use_tower=False), kind="finetune")
    with pytest.raises(UserError, match=r"was trained with use_tower: false, so it has no tower; give another run\.$"):
        SequenceTower.from_run(tmp_path)
