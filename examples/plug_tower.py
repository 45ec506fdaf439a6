"""Plug a pretrained tower into a ranker that is already yours.

    pinfm prepare simulate --num-users 2000 --out /tmp/world
    pinfm pretrain --data /tmp/world --out /tmp/pretrain
    python examples/plug_tower.py /tmp/pretrain

`MyRanker` stands for a model that has nothing to do with pinfm: the tower is one more module in it, and its weights are
trained (or frozen) with the rest.
"""

import argparse

import torch
from torch import Tensor, nn

from pinfm.model import Candidates, History, SequenceTower


class MyRanker(nn.Module):
    """A ranker of your own: price and freshness, and now the tower's features beside them."""

    def __init__(self, tower: SequenceTower, out_dim: int) -> None:
        super().__init__()
        self.tower = tower
        self.score = nn.Sequential(nn.Linear(out_dim + 2, 32), nn.ReLU(), nn.Linear(32, 1))

    def forward(self, history: History, candidates: Candidates, own_features_NF: Tensor) -> Tensor:
        """(N,) logits."""
        features_NO = self.tower(history, candidates)
        return self.score(torch.cat([features_NO, own_features_NF], dim=1)).squeeze(1)


def two_requests() -> tuple[History, Candidates]:
    """One user with three events and two candidates, and a new user with no events and one candidate."""
    history = History(
        lengths=torch.tensor([3, 0]),
        item_id=torch.tensor([17, 4, 99]),
        action=torch.tensor([1, 1, 2]),
        surface=torch.tensor([1, 1, 1]),
        timestamp=torch.tensor([1_704_100_000, 1_704_100_060, 1_704_186_400]),
    )
    candidates = Candidates(
        lengths=torch.tensor([2, 1]),
        request_timestamp=torch.tensor([1_704_190_000, 1_704_190_000]),
        item_id=torch.tensor([5, 17, 5]),
        created_at=torch.tensor([1_704_000_000, 1_704_067_200, 1_704_000_000]),
        content=torch.zeros(3, 0),
        surface=torch.tensor([1, 2]),
    )
    return history, candidates


def main(run: str) -> None:
    """Trains the joint ranker for a few steps on two requests."""
    tower = SequenceTower.from_run(run)
    history, candidates = two_requests()
    ranker = MyRanker(tower, out_dim=tower(history, candidates).size(1))
    optimizer = torch.optim.Adam(
        [{"params": tower.parameters(), "lr": 1e-4}, {"params": ranker.score.parameters(), "lr": 1e-3}]
    )
    clicked, own_features = torch.tensor([1.0, 0.0, 0.0]), torch.rand(3, 2)
    for step in range(5):
        logits = ranker(history, candidates, own_features)
        loss = nn.functional.binary_cross_entropy_with_logits(logits, clicked)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        print(f"step {step}: loss {loss.item():.4f}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder of `pinfm pretrain`")
    main(parser.parse_args().run)
