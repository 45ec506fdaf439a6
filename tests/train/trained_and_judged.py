"""What test_reproducible.py runs in a process of its own: a fine-tuning run, and its metrics.

Usage: trained_and_judged.py CONFIG DATASET RUN THREADS
"""

import sys

import torch

from pinfm.train.cli.main import main
from pinfm.train.cli.quiet import hush_libraries


def train_and_judge(config: str, dataset: str, run: str, threads: str) -> None:
    torch.set_num_threads(int(threads))
    assert main(["finetune", "--config", config, "--data", dataset, "--out", run]) == 0
    assert main(["evaluate", run, "--data", dataset, "--report", f"{run}.json"]) == 0


if __name__ == "__main__":
    hush_libraries()
    train_and_judge(*sys.argv[1:])
