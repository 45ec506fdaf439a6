"""The joint model: scores that depend on their own request and candidate alone."""

import model_fakes
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from model_fakes import (
    FEATURE_DIM,
    ITEM_DIM,
    NUM_ITEMS,
    collate,
    config,
    content_dim_of,
    joint_model,
    random_requests,
    roughen,
    schema,
)

from pinfm.embeddings.errors import UserError
from pinfm.model.inputs import History, Reads, own_histories
from pinfm.model.ranking.joint import FusedRanker, PlainRanker, RankingInputs, build_model
from pinfm.model.ranking.ranker import RankerFeatures

VARIANTS = {
    **model_fakes.VARIANTS,
    "counts": {"history_counts": True},
    "counts, no tower": {"history_counts": True, "use_tower": False},
}
REQUESTS = st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=4)


def run(model, batch):
    """The model's output where each request has its own history."""
    reads = own_histories(batch.history.lengths)
    return model(RankingInputs(**batch._asdict(), reads=reads))


def score(model, requests):
    """Logits of the ranker and of the tower, side by side, split by request."""
    batch = collate(requests)
    output = run(model, batch)
    logits = torch.cat([output.logits, output.tower_logits], dim=1)
    return logits.split(batch.candidates.lengths.tolist())


def only(request, candidate):
    """The request with one of its candidates."""
    row = slice(candidate, candidate + 1)
    one = request.candidates
    return request._replace(
        candidates=one._replace(
            lengths=torch.tensor([1]),
            item_id=one.item_id[row],
            created_at=one.created_at[row],
            content=one.content[row],
        ),
        features=request.features._replace(
            candidate_vectors=request.features.candidate_vectors[row],
            candidate_dense=request.features.candidate_dense[row],
        ),
        item_NE=request.item_NE[row],
    )


def requests_of(lengths, options):
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM)
    return random_requests(*zip(*lengths, strict=True), item_VE, content_dim_of(options))


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@given(lengths=REQUESTS, seed=st.integers(0, 2**32))
@settings(max_examples=5)
@torch.no_grad()
def test_a_score_does_not_change_when_others_join_the_batch(options, lengths, seed):
    torch.manual_seed(seed)
    model = joint_model(**options)
    requests = requests_of(lengths, options)
    for request, together in zip(requests, score(model, requests), strict=True):
        for candidate, logits in enumerate(together):
            alone = score(model, [only(request, candidate)])[0]
            torch.testing.assert_close(alone[0], logits, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
@torch.no_grad()
def test_candidates_and_requests_in_another_order_keep_their_scores(options):
    model = joint_model(**options)
    requests = requests_of([(4, 3), (0, 2), (2, 1)], options)
    plain = score(model, requests)
    reversed_candidates = [
        collate([only(request, c) for c in range(len(request.item_NE))][::-1]) for request in requests
    ]
    turned = [
        request._replace(
            candidates=request.candidates._replace(
                **{name: getattr(backwards.candidates, name) for name in ("item_id", "created_at", "content")}
            ),
            features=request.features._replace(
                candidate_vectors=backwards.features.candidate_vectors,
                candidate_dense=backwards.features.candidate_dense,
            ),
            item_NE=backwards.item_NE,
        )
        for request, backwards in zip(requests, reversed_candidates, strict=True)
    ]
    for expected, found in zip(plain, score(model, turned[::-1])[::-1], strict=True):
        torch.testing.assert_close(found.flip(0), expected, rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_the_surface_of_a_request_moves_the_scores_of_its_candidates_alone():
    model, requests = joint_model(), requests_of([(4, 3), (0, 2)], {})
    candidates = requests[0].candidates
    elsewhere = requests[0]._replace(candidates=candidates._replace(surface=(candidates.surface + 1) % 3))
    before, after = score(model, requests), score(model, [elsewhere, requests[1]])
    assert (after[0] - before[0]).abs().amin() > 1e-6
    torch.testing.assert_close(after[1], before[1], rtol=1e-5, atol=1e-6)


@torch.no_grad()
def test_candidates_do_not_all_score_alike():
    for logits in score(joint_model(), requests_of([(4, 3), (0, 3)], {})):
        assert logits.std(0).min() > 1e-5


@pytest.mark.parametrize("fusion", ["early", "lite_mean", "lite_last"])
@torch.no_grad()
def test_requests_that_share_a_history_score_as_if_each_had_its_own(fusion):
    model = joint_model(fusion=fusion)
    item_VE = torch.randn(NUM_ITEMS, ITEM_DIM)
    history, _, _, item_TE, _ = collate(random_requests([5, 3], [0, 0], item_VE))
    batch = collate(random_requests([0] * 4, [2, 1, 2, 1], item_VE))
    candidates = batch.candidates._replace(request_timestamp=2 * 10**9 + torch.arange(4))
    reads = Reads(torch.tensor([0, 0, 0, 1]), torch.tensor([0, 2, 5, 3]))
    shared = model(RankingInputs(history, candidates, item_TE, batch.item_NE, batch.features, reads))
    rows = torch.tensor([0, 1, 0, 1, 2, 3, 4, 5, 6, 7])
    own = History(reads.visible, *(field[rows] for field in history[1:]))
    alone = run(model, batch._replace(history=own, candidates=candidates, item_TE=item_TE[rows]))
    torch.testing.assert_close(shared.logits, alone.logits, rtol=1e-5, atol=1e-6)
    torch.testing.assert_close(shared.tower_logits, alone.tower_logits, rtol=1e-5, atol=1e-6)


def test_outputs_have_a_row_a_candidate_and_a_context_an_event():
    batch = collate(requests_of([(4, 3), (0, 2)], {}))
    output = run(joint_model(), batch)
    assert output.logits.shape == output.tower_logits.shape == (5, 3)
    assert output.context.lengths.tolist() == batch.history.lengths.tolist()
    assert output.context.rows.size(0) == 4
    plain = run(joint_model(use_tower=False), batch)
    assert plain.logits.shape == (5, 3)
    assert plain.tower_logits.shape == (5, 0)
    assert plain.context is None


def test_without_a_tower_the_history_is_not_read():
    model, requests = joint_model(use_tower=False), requests_of([(4, 3)], {})
    other = [requests[0]._replace(history=requests[0].history._replace(action=torch.zeros(4, dtype=torch.int64)))]
    assert torch.equal(score(model, requests)[0], score(model, other)[0])


def test_the_history_changes_the_scores():
    model, requests = joint_model(), requests_of([(4, 3)], {})
    other = [requests[0]._replace(item_TE=requests[0].item_TE + torch.randn(4, ITEM_DIM))]
    assert (score(model, requests)[0] - score(model, other)[0]).abs().amax(0).min() > 1e-5


@pytest.mark.parametrize("use_tower", [True, False])
@torch.no_grad()
def test_the_direction_of_the_content_vector_is_a_feature_of_its_candidate(use_tower):
    options = {"content_vector": True, "use_tower": use_tower}
    model, (request,) = joint_model(**options), requests_of([(4, 3)], options)

    def scores(content):
        return score(model, [request._replace(candidates=request.candidates._replace(content=content))])[0]

    content = torch.randn(3, 3)
    before = scores(content)
    torch.testing.assert_close(scores(content * torch.tensor([[0.1], [3.0], [1e6]])), before, rtol=1e-5, atol=1e-6)
    others = content.clone()
    others[1] = torch.randn(3)
    # The tower's own predictions stand after the ranker's, which read the content.
    changed = (scores(others) - before).abs()[:, :3] > 1e-5
    assert changed.tolist() == [[False] * 3, [True] * 3, [False] * 3]


@pytest.mark.parametrize("use_tower", [True, False])
def test_a_content_vector_needs_content(use_tower):
    with pytest.raises(
        UserError, match=r"^ranker\.content_vector is on, but the dataset's items have no content vectors"
    ):
        build_model(config(content_vector=True, use_tower=use_tower), schema(content_dim=0), ITEM_DIM, FEATURE_DIM)


def test_the_builder_picks_by_use_tower():
    assert type(build_model(config(), schema(), ITEM_DIM, FEATURE_DIM)) is FusedRanker
    assert type(build_model(config(use_tower=False), schema(), ITEM_DIM, FEATURE_DIM)) is PlainRanker


@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS)
def test_every_weight_learns_from_the_outputs(options):
    model = roughen(joint_model(**options))
    batch = collate(requests_of([(5, 2), (0, 2), (3, 2)], options))
    output = run(model, batch)
    sum((part * torch.randn_like(part)).sum() for part in (output.logits, output.tower_logits)).backward()
    untrained = {name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()}
    # The self-supervised losses alone train these.
    assert {name for name in untrained if "encoder.psi." not in name} <= {"encoder.log_temperature"}


def test_ranker_features_are_read():
    model, requests = joint_model(), requests_of([(3, 4), (2, 2)], {})
    batch = collate(requests)
    before = torch.cat(score(model, requests))
    for field in RankerFeatures._fields:
        moved = batch.features._replace(**{field: getattr(batch.features, field) + 1.0})
        after = run(model, batch._replace(features=moved)).logits
        assert (after - before[:, :3]).abs().amax(1).min() > 1e-6, field


def test_on_the_tower_path_the_towers_own_predictions_are_added():
    torch.manual_seed(0)
    apart = joint_model(tower_path=False)
    added = joint_model(tower_path=True)
    added.load_state_dict(apart.state_dict())
    batch = collate(random_requests([3, 0], [2, 3], torch.randn(NUM_ITEMS, ITEM_DIM)))
    plain, sums = run(apart, batch), run(added, batch)
    torch.testing.assert_close(sums.tower_logits, plain.tower_logits)
    torch.testing.assert_close(sums.logits, plain.logits + plain.tower_logits)
