"""The straight way from counters to predictions."""

import torch

from pinfm.model.ranking.live_path import LivePath, NoLivePath
from pinfm.model.schema import Feature

FEATURES = [Feature(name=f"c{i}", kind="dense", scope="candidate", mean=0.5 * i, std=1.0 + i) for i in range(3)]


def test_scaled_counters_are_weighed_into_each_logit():
    path = LivePath(FEATURES, [4, 0, 2], num_tasks=2, clip=1.5)
    dense = torch.randn(5, 6) * 20
    assert torch.equal(path(dense, torch.float32), torch.zeros(5, 2))  # nothing is said before anything is learnt
    torch.nn.init.normal_(path.linear.weight)
    expected = torch.zeros(5, 2)
    for n in range(5):
        for place, (feature, column) in enumerate(zip(FEATURES, [4, 0, 2], strict=True)):
            value = dense[n, column]
            scaled = (value.sign() * (1 + value.abs()).log() - feature.mean) / feature.std
            expected[n] += path.linear.weight[:, place] * scaled.clamp(-1.5, 1.5)
    torch.testing.assert_close(path(dense, torch.float32), expected)
    torch.testing.assert_close(torch.jit.script(path)(dense, torch.float32), expected)


def test_without_counters_nothing_is_added():
    assert torch.equal(NoLivePath(2)(torch.ones(3, 4), torch.bfloat16), torch.zeros(3, 2, dtype=torch.bfloat16))
