"""A server that forks its workers: what they can do, and what they are told."""

import sys

import pytest
import runs

# Seconds after which a worker ends, before who waits for it.
HANGS = runs.HANGS // 2

LOADED = """
import os, signal, sys
import pandas as pd
import torch
from pinfm.inference import load

model, requests, threads, first, hangs = sys.argv[1:]
torch.set_num_threads(int(threads))
scorer = load(model)
requests = pd.read_parquet(requests)
score = lambda: len(scorer.score(requests))
"""
# A tower is only encoded with in the server, and in its worker scores what the server encoded.
TOWER = """
import os, signal, sys
import torch
from pinfm.model import Candidates, History, SequenceTower

run, threads, first, hangs = sys.argv[1:]
torch.set_num_threads(int(threads))
tower = SequenceTower.from_run(run).eval()
ids, none = torch.arange(4), torch.zeros(4, dtype=torch.int64)
history = History(torch.tensor([4]), ids, none, none, 1_600_000_000 + ids)
candidates = Candidates(torch.tensor([4]), torch.tensor([1_700_000_000]), ids, none, torch.zeros(4, 4))
encoded = None
def score():
    global encoded
    encoded = tower.encode_context(history) if encoded is None else encoded
    return len(tower.score(encoded, candidates)) if first != "encode" or os.getpid() != server else 0
server = os.getpid()
"""
FORK = """
if first != "load":
    score()
worker = os.fork()
if not worker:
    signal.alarm(int(hangs))  # a worker that hangs ends so
    try:
        print("scored", score(), flush=True)
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
    words = [exported, requests, threads, first, HANGS]
    done = runs.command(sys.executable, "-W", "ignore", "-c", LOADED + FORK, *words, cwd=tmp_path)
    assert told in done.stdout


@pytest.mark.parametrize(
    ("threads", "first", "told"),
    [(2, "encode", "whose threads it lacks: scoring would hang"), (2, "load", "scored 4"), (1, "encode", "scored 4")],
)
def test_so_does_a_tower(pretrained, tmp_path, threads, first, told):
    words = [pretrained, threads, first, HANGS]
    done = runs.command(sys.executable, "-W", "ignore", "-c", TOWER + FORK, *words, cwd=tmp_path)
    assert told in done.stdout
