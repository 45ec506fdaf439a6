"""The ranker's inputs, their normalisation, their order, and its heads."""

import math

import pytest
import torch
from model_fakes import FEATURE_DIM, config, roughen, schema
from torch import nn

from pinfm.model.ranking.interactions import CrossInteraction, DotInteraction
from pinfm.model.ranking.ranker import DenseArch, NoDense, OverArch, Ranker, RankerFeatures, SparseArch, build_ranker
from pinfm.model.schema import Feature, InputSchema

DENSE = (
    Feature(name="age", kind="dense", scope="request", mean=-0.2, std=0.5),
    Feature(name="price", kind="dense", scope="candidate", mean=0.5, std=2.0),
)


class Flat(nn.Module):
    """An interaction that shows what it was given."""

    def forward(self, x_NFD):
        return x_NFD.flatten(1)


def features_of(num_requests, num_candidates):
    return RankerFeatures(
        torch.randn(num_requests, 2, FEATURE_DIM),
        torch.randn(num_candidates, 1, FEATURE_DIM),
        torch.randn(num_requests, 1),
        torch.randn(num_candidates, 1),
    )


def test_dense_features_are_log_scaled_normalised_and_clipped():
    arch = DenseArch(DENSE, hidden=[3], dim=4)
    seen = []
    arch.mlp.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    raw = torch.tensor([[0.0, -3.5], [2.0, 10.0], [1e9, -1e30]])
    assert arch(raw, torch.float32).shape == (3, 1, 4)

    def normalised(x, feature):
        scaled = math.copysign(math.log(1 + abs(x)), x)
        return min(5.0, max(-5.0, (scaled - feature.mean) / feature.std))

    expected = [[normalised(x, feature) for x, feature in zip(row, DENSE, strict=True)] for row in raw.tolist()]
    torch.testing.assert_close(seen[0], torch.tensor(expected))
    assert seen[0][2].tolist() == [5.0, -5.0]


def test_without_dense_features_no_vector_is_added():
    assert NoDense(4)(torch.zeros(3, 0), torch.float32).shape == (3, 0, 4)


def test_request_features_reach_all_candidates_of_their_request_and_no_other():
    dense, sparse = roughen(DenseArch(DENSE, [3], FEATURE_DIM)), roughen(SparseArch([6, 5], FEATURE_DIM))
    ranker = Ranker(dense, sparse, Flat(), nn.Identity())
    lengths = [2, 0, 3, 1]
    features = features_of(4, 6)
    ids, tower = torch.randn(6, 6), torch.randn(6, 5)
    rows, n = [], 0
    for request, count in enumerate(lengths):
        for _ in range(count):
            raw = torch.cat([features.request_dense[request], features.candidate_dense[n]])
            rows.append(
                torch.cat(
                    [
                        *features.request_vectors[request],
                        *features.candidate_vectors[n],
                        sparse.projections[0](ids[n] / ids[n].norm()),
                        sparse.projections[1](tower[n] / tower[n].norm()),
                        dense(raw[None], torch.float32)[0, 0],
                    ]
                )
            )
            n += 1
    torch.testing.assert_close(ranker(features, torch.tensor(lengths), [ids, tower]), torch.stack(rows))


def test_each_task_has_a_head_of_its_own():
    arch = OverArch(in_dim=5, hidden=[4, 3], num_tasks=3, dropout=0.0).eval()
    x = torch.randn(7, 5)
    before = arch(x)
    assert before.shape == (7, 3)
    for task in range(3):
        with torch.no_grad():
            arch.heads[task].bias += 1.0
        changed = (arch(x) - before).abs().amax(0) > 0.5
        assert changed.tolist() == [k <= task for k in range(3)]


def test_the_shared_mlp_ends_in_an_activation_before_the_heads():
    arch = roughen(OverArch(in_dim=5, hidden=[4, 3], num_tasks=2, dropout=0.0)).eval()
    first, second = (layer for layer in arch.shared[0] if isinstance(layer, nn.Linear))
    gelu = nn.functional.gelu
    x = torch.randn(7, 5)
    shared = gelu(second(gelu(first(x))))
    torch.testing.assert_close(arch(x), torch.cat([head(shared) for head in arch.heads], dim=1))


@pytest.mark.parametrize(("interaction", "kind"), [("dot", DotInteraction), ("dcn_v2", CrossInteraction)])
def test_the_builder_counts_every_vector(interaction, kind):
    ranker = build_ranker(config(interaction=interaction).ranker, schema(), [6, 5], FEATURE_DIM).eval()
    assert isinstance(ranker.interaction_arch, kind)
    assert isinstance(ranker.dense_arch, DenseArch)
    # The request's features stand first, whatever their order in the schema.
    assert ranker.dense_arch.mean_M.tolist() == pytest.approx([-0.2, 0.5])
    assert ranker.dense_arch.std_M.tolist() == pytest.approx([0.5, 2.0])
    logits = ranker(features_of(2, 3), torch.tensor([2, 1]), [torch.randn(3, 6), torch.randn(3, 5)])
    assert logits.shape == (3, 3)


@pytest.mark.parametrize("interaction", ["dot", "dcn_v2"])
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
