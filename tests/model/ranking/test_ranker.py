"""The ranker's inputs, their normalisation, their order, and its heads."""

import math
from typing import get_args

import pytest
import torch
from model_fakes import FEATURE_DIM, config, roughen, schema
from torch import nn

from pinfm.model.ranking.interactions.forms.input import Input
from pinfm.model.ranking.interactions.parts.fields import Fields, FieldShape, whole
from pinfm.model.ranking.interactions.table import InteractionName
from pinfm.model.ranking.live_path import NoLivePath
from pinfm.model.ranking.live_rates import NoLiveRates
from pinfm.model.ranking.ranker import DenseArch, NoDense, OverArch, Ranker, RankerFeatures, SparseArch, build_ranker
from pinfm.model.schema import Feature, InputSchema

DENSE = (
    Feature(name="age", kind="dense", scope="request", mean=-0.2, std=0.5),
    Feature(name="price", kind="dense", scope="candidate", mean=0.5, std=2.0),
)


class Flat(nn.Module):
    """Shows what the interactions give."""

    def forward(self, fields):
        return whole(fields).flatten(1)


def dense_of_one(raw):
    """One request with one candidate."""
    return Fields(raw[0][None, :, None], raw[1][None, :, None], torch.zeros(1, dtype=torch.int64))


def features_of(num_requests, num_candidates):
    return RankerFeatures(
        torch.randn(num_requests, 2, FEATURE_DIM),
        torch.randn(num_candidates, 1, FEATURE_DIM),
        torch.randn(num_requests, 1),
        torch.randn(num_candidates, 1),
    )


def raw_fields(request, candidate, owner):
    """Raw dense values as vectors of width 1."""
    return Fields(torch.tensor(request)[:, :, None], torch.tensor(candidate)[:, :, None], torch.tensor(owner))


def test_dense_features_are_log_scaled_normalised_and_clipped():
    arch = DenseArch(DENSE[:1], DENSE[1:], hidden=[3], dim=4)
    seen = []
    arch.first.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    raw = [[0.0, -3.5], [2.0, 10.0], [1e9, -1e30]]
    fields = raw_fields([row[:1] for row in raw], [row[1:] for row in raw], [0, 1, 2])
    given = arch(fields, torch.float32)
    assert (given.request.shape, given.candidate.shape) == ((3, 0, 4), (3, 1, 4))

    def normalised(x, feature):
        scaled = math.copysign(math.log(1 + abs(x)), x)
        return min(5.0, max(-5.0, (scaled - feature.mean) / feature.std))

    expected = [[normalised(x, feature) for x, feature in zip(row, DENSE, strict=True)] for row in raw]
    torch.testing.assert_close(whole(seen[0]).squeeze(2), torch.tensor(expected))
    assert seen[0].candidate[2].item() == -5.0


def test_clipping_last_is_clipping_first_at_the_raw_values_of_five_deviations():
    (feature,), scaled = DENSE[1:], []
    arch = DenseArch((), DENSE[1:], hidden=[], dim=4)
    arch.first.register_forward_pre_hook(lambda _, inputs: scaled.append(inputs[0].candidate))
    bounds = [feature.mean + 5.0 * sign * feature.std for sign in (-1, 1)]
    low, high = [math.copysign(math.expm1(abs(bound)), bound) for bound in bounds]
    raw = torch.tensor([[-1e30], [1.01 * low], [-7.0], [0.3], [0.99 * high], [1.01 * high], [1e9]])
    for values in (raw, raw.clamp(low, high)):
        arch(Fields(torch.zeros(7, 0, 1), values[:, :, None], torch.arange(7)), torch.float32)
    torch.testing.assert_close(scaled[0], scaled[1])
    assert scaled[0][[0, -1]].flatten().tolist() == [-5.0, 5.0]


@pytest.mark.parametrize("hidden", [[], [3], [3, 5]])
def test_dense_features_of_the_request_alone_make_a_vector_of_the_request(hidden):
    arch = roughen(DenseArch(DENSE, (), hidden, dim=4))
    values = [[1.0, 2.0], [3.0, -4.0]]
    given = arch(raw_fields(values, [[], [], []], [0, 1, 1]), torch.float32)
    assert (given.request.shape, given.candidate.shape) == ((2, 1, 4), (3, 0, 4))
    # The same as if each were a candidate.
    alike = roughen(DenseArch((), DENSE, hidden, dim=4))
    weights = arch.state_dict()
    alike.load_state_dict(
        {name: weights.get(name, value) for name, value in alike.state_dict().items()} | scaling(arch)
    )
    expected = alike(raw_fields([[], []], values, [0, 1]), torch.float32).candidate
    torch.testing.assert_close(given.request, expected)


def scaling(arch):
    """The statistics of the request's features, as those of the candidate's."""
    of_request = {"request_mean": torch.empty(0), "request_std": torch.empty(0)}
    return of_request | {"candidate_mean": arch.request_mean, "candidate_std": arch.request_std}


def test_without_dense_features_no_vector_is_added():
    given = NoDense(4)(raw_fields([[], []], [[], [], []], [0, 0, 1]), torch.float32)
    assert (given.request.shape, given.candidate.shape) == ((2, 0, 4), (3, 0, 4))


def test_request_features_reach_all_candidates_of_their_request_and_no_other():
    dense = roughen(DenseArch(DENSE[:1], DENSE[1:], [3], FEATURE_DIM))
    sparse = roughen(SparseArch([6, 5], FEATURE_DIM))
    ranker = Ranker(
        live_rates=NoLiveRates(),
        live_path=NoLivePath(24),
        dense_arch=dense,
        sparse_arch=sparse,
        interaction_arch=Input(FieldShape(2, 4, FEATURE_DIM)),
        over_arch=Flat(),
    )
    lengths = [2, 0, 3, 1]
    features = features_of(4, 6)
    ids, tower = torch.randn(6, 6), torch.randn(6, 5)
    rows, n = [], 0
    for request, count in enumerate(lengths):
        for _ in range(count):
            raw = (features.request_dense[request], features.candidate_dense[n])
            rows.append(
                torch.cat(
                    [
                        *features.request_vectors[request],
                        *features.candidate_vectors[n],
                        sparse.projections[0](ids[n] / ids[n].norm()),
                        sparse.projections[1](tower[n] / tower[n].norm()),
                        dense(dense_of_one(raw), torch.float32).candidate[0, 0],
                    ]
                )
            )
            n += 1
    torch.testing.assert_close(ranker(features, torch.tensor(lengths), [ids, tower]), torch.stack(rows))


def alone(x_NW):
    """Numbers of candidates, none of requests."""
    return Fields(torch.zeros(len(x_NW), 0, 1), x_NW[:, :, None], torch.arange(len(x_NW)))


def test_each_task_has_a_head_of_its_own():
    arch = OverArch(FieldShape(0, 5, 1), hidden=[4, 3], num_tasks=3, dropout=0.0).eval()
    x = alone(torch.randn(7, 5))
    before = arch(x)
    assert before.shape == (7, 3)
    for task in range(3):
        with torch.no_grad():
            arch.heads[task].bias += 1.0
        changed = (arch(x) - before).abs().amax(0) > 0.5
        assert changed.tolist() == [k <= task for k in range(3)]


@pytest.mark.parametrize("hidden", [[4], [4, 3], [4, 3, 2]])
def test_the_shared_mlp_ends_in_an_activation_before_the_heads(hidden):
    arch = roughen(OverArch(FieldShape(0, 5, 1), hidden, num_tasks=2, dropout=0.0)).eval()
    linears = [layer for layer in [arch.first.linear, *arch.shared.modules()] if isinstance(layer, nn.Linear)]
    assert [linear.out_features for linear in linears] == hidden
    x = shared = torch.randn(7, 5)
    for linear in linears:
        shared = nn.functional.gelu(linear(shared))
    torch.testing.assert_close(arch(alone(x)), torch.cat([head(shared) for head in arch.heads], dim=1))


def test_the_shared_mlp_reads_what_belongs_to_the_request():
    split = OverArch(FieldShape(2, 3, 4), [6], num_tasks=2, dropout=0.0).eval()
    copied = OverArch(FieldShape(0, 5, 4), [6], num_tasks=2, dropout=0.0).eval()
    copied.load_state_dict(split.state_dict())
    fields = Fields(torch.randn(2, 2, 4), torch.randn(5, 3, 4), torch.tensor([0, 0, 1, 1, 1]))
    torch.testing.assert_close(split(fields), copied(alone(whole(fields).flatten(1))))


@pytest.mark.parametrize("interaction", get_args(InteractionName))
def test_the_builder_counts_every_vector(interaction):
    ranker = build_ranker(config(interaction=interaction).ranker, schema(), [6, 5], FEATURE_DIM).eval()
    assert isinstance(ranker.dense_arch, DenseArch)
    assert (ranker.dense_arch.request_mean, ranker.dense_arch.request_std) == pytest.approx((-0.2, 0.5))
    assert (ranker.dense_arch.candidate_mean, ranker.dense_arch.candidate_std) == pytest.approx((0.5, 2.0))
    logits = ranker(features_of(2, 3), torch.tensor([2, 1]), [torch.randn(3, 6), torch.randn(3, 5)])
    assert logits.shape == (3, 3)


@pytest.mark.parametrize("interaction", get_args(InteractionName))
def test_a_dataset_may_have_no_features(interaction):
    bare = InputSchema(actions=("a",), positive_actions=("a",), surfaces=("s",), tasks=("t",), features=())
    ranker = build_ranker(config(interaction=interaction).ranker, bare, [6], FEATURE_DIM).eval()
    features = RankerFeatures(
        torch.randn(2, 1, FEATURE_DIM), torch.zeros(3, 0, FEATURE_DIM), torch.zeros(2, 0), torch.zeros(3, 0)
    )
    assert ranker(features, torch.tensor([1, 2]), [torch.randn(3, 6)]).shape == (3, 1)


def test_every_weight_learns():
    ranker = roughen(build_ranker(config().ranker, schema(), [6, 5], FEATURE_DIM))
    logits = ranker(features_of(2, 5), torch.tensor([2, 3]), [torch.randn(5, 6), torch.randn(5, 5)])
    logits.square().sum().backward()
    assert [name for name, weight in ranker.named_parameters() if not weight.grad.any()] == []
