"""Encode a user's history once, and score candidates page by page against what is kept of it.

    pinfm prepare simulate --num-users 2000 --out /tmp/world
    pinfm pretrain --data /tmp/world --out /tmp/pretrain
    python examples/cache_history.py /tmp/pretrain

The same object serves the stages of a funnel: a first stage scores many candidates, a later one a few of them again.
"""

import argparse

import torch

from pinfm.model import Candidates, History, SequenceTower

NOW = 1_704_190_000


def page_of(items: torch.Tensor) -> Candidates:
    """Candidates of one request."""
    return Candidates(
        lengths=torch.tensor([len(items)]),
        request_timestamp=torch.tensor([NOW]),
        item_id=items,
        created_at=torch.full_like(items, NOW - 86_400),
        content=torch.zeros(len(items), 0),
        surface=torch.tensor([1]),
    )


@torch.no_grad()
def main(run: str) -> None:
    """Scores 1,000 candidates of one user in pages of 100, and compares with one call for all."""
    tower = SequenceTower.from_run(run).eval()
    history = History(
        lengths=torch.tensor([50]),
        item_id=torch.arange(50),
        action=torch.ones(50, dtype=torch.int64),
        surface=torch.ones(50, dtype=torch.int64),
        timestamp=NOW - 60 * torch.arange(50, 0, -1),
    )
    cached = tower.encode_context(history)
    pages = [tower.score(cached, page_of(items)) for items in torch.arange(1000).split(100)]
    whole = tower(history, page_of(torch.arange(1000)))
    difference = (torch.cat(pages) - whole).abs().max().item()
    print(
        f"{cached.num_bytes() / 1024:.0f} KiB kept of 50 events; pages differ from one call by at most {difference:.1e}"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", help="a run folder of `pinfm pretrain`")
    main(parser.parse_args().run)
