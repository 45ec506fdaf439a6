"""A server that forks its workers: what they can do, and what they are told."""

import sys

import pytest
import runs

SERVER = """
import os, signal, sys
import pandas as pd
import torch
from pinfm.inference import load

model, requests, threads, first = sys.argv[1:]
torch.set_num_threads(int(threads))
scorer = load(model)
requests = pd.read_parquet(requests)
if first == "score":
    scorer.score(requests)
worker = os.fork()
if not worker:
    signal.alarm(60)  # a worker that hangs ends so
    try:
        print("scored", len(scorer.score(requests)), flush=True)
    except ValueError as error:
        print(error, flush=True)
    os._exit(0)
_, status = os.waitpid(worker, 0)
assert status == 0, status
"""


@pytest.mark.parametrize(
    ("threads", "first", "told"),
    [
        (2, "score", "was forked from one that had scored, whose threads it lacks: scoring would hang; fork before"),
        (2, "load", "scored"),
        (1, "score", "scored"),
    ],
)
def test_a_forked_worker_scores_or_says_why_not(exported, finetuned, tmp_path, threads, first, told):
    requests = finetuned / "requests.parquet"
    done = runs.command(sys.executable, "-W", "ignore", "-c", SERVER, exported, requests, threads, first, cwd=tmp_path)
    assert told in done.stdout
