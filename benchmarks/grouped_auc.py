r"""Why grouped AUC falls where a ranker reads histories: the share of clicks in the history, as the only score.

    ./run python -m benchmarks.grouped_auc --data quickstart/dataset --task click

A user's history so far holds the outcomes before an impression and not those after it. Within one user the two are
complements, so a score that follows the history goes against the outcomes there, however well it tells users apart.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from benchmarks.parts.pages import write_report
from pinfm.train.comparison.report.markdown import table
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.loader.requests import RequestSource
from pinfm.train.metrics.ranking import auc, grouped_auc

# An event of KuaiRand carries its strongest action alone, and who did more than click has clicked.
ACTIONS = ["click", "long_view", "like", "profile_enter"]


def main() -> None:
    """Prints AUC and grouped AUC of the history's own rate, on both held-out splits, and writes them where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--task", default="click")
    parser.add_argument("--actions", nargs="+", default=ACTIONS, help="events that tell that the task was done")
    parser.add_argument("--max-history", type=int, default=64)
    parser.add_argument("--report", type=Path, help="JSON file to write")
    args = parser.parse_args()
    dataset, figures = PreparedDataset.open(args.data), {}
    for split in ("validation", "test"):
        rate_N, label_N, user_N = history_rates(dataset, split, args.task, args.actions, args.max_history)
        figures[split] = {"auc": auc(rate_N, label_N), **grouped_auc(rate_N, label_N, user_N)}
    heading = list(figures["test"])
    lines = [
        [split, *(f"{v:.4f}" if isinstance(v, float) else str(v) for v in of.values())] for split, of in figures.items()
    ]
    print(table(["split", *heading], lines))
    if args.report is not None:
        write_report(
            args.report, {"task": args.task, "actions": args.actions, "max_history": args.max_history, **figures}
        )


def history_rates(
    dataset: PreparedDataset, split: str, task: str, actions: Sequence[str], max_history: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Each candidate's score, label and user: (k + 1) / (n + 2) after n events of which k were one of the actions."""
    source = RequestSource(dataset, split, max_history=max_history)
    codes = [dataset.info.schema.actions.index(action) + 1 for action in actions]
    rates, labels, users = [], [], []
    for bucket in map(source.read, range(source.num_buckets)):
        before = np.concatenate([[0], np.cumsum(np.isin(bucket.events["action"], codes))])
        acted = before[bucket.history_start + bucket.history_length] - before[bucket.history_start]
        rate = (acted + 1) / (bucket.history_length + 2)
        rates.append(np.repeat(rate, bucket.candidate_length))
        labels.append(bucket.lists[f"label_{task}"].astype(bool))
        users.append(np.repeat(bucket.scalars["user_id"], bucket.candidate_length))
    rate_N, label_N, user_N = (torch.from_numpy(np.concatenate(parts)) for parts in (rates, labels, users))
    return rate_N, label_N, user_N


if __name__ == "__main__":
    main()
