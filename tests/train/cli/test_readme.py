"""The README's commands for logs of one's own, as they are written there."""

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import runs

from pinfm.train.cli.main import main

README = Path(__file__).parents[3] / "README.md"
DAY = 86_400


def commands(heading):
    """The lines of the first block below a heading, continued lines joined."""
    block = README.read_text().split(f"## {heading}\n")[1].split("```sh\n")[1].split("```")[0]
    return [shlex.split(line) for line in block.replace("\\\n", " ").splitlines()]


def write_logs(folder):
    """What a small shop would have: a log of actions, what was shown, and its items."""
    rng = np.random.default_rng(0)
    users, items, now = 60, 40, 1_750_000_000
    shown = pd.DataFrame({"request_id": range(users * 8), "user_id": np.repeat(range(users), 8)})
    shown["timestamp"] = now + rng.integers(0, 20 * DAY, len(shown))
    shown["item_id"] = [rng.choice(items, 4, replace=False) for _ in range(len(shown))]
    shown = shown.explode("item_id").astype({"item_id": "int64"})
    shown["surface"] = "home"
    for task, share in (("click", 0.4), ("save", 0.2)):
        shown[task] = rng.random(len(shown)) < share
    log = pd.concat([shown[shown[task]].assign(action=task) for task in ("click", "save")])
    log[["user_id", "timestamp", "action", "surface", "item_id"]].to_parquet(folder / "log.parquet")
    shown.to_parquet(folder / "shown.parquet")
    pd.DataFrame({"item_id": range(items), "created_at": now}).to_parquet(folder / "items.parquet")


def test_your_own_logs_become_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path)
    runs.write_config(runs.CONFIG, tmp_path / "my.yaml")
    steps = commands("Your own logs")
    assert [words[:2] for words in steps] == [
        ["pinfm", verb] for verb in ("prepare", "pretrain", "finetune", "evaluate", "export", "score")
    ]
    for words in steps:
        if words[1] == "score":
            pd.read_parquet("runs/ranker/requests.parquet").to_parquet("requests.parquet")
        assert main(words[1:]) == 0, words
    scores = pd.read_parquet("scores.parquet")
    for task in ("click", "save"):
        assert scores[task].between(0, 1, inclusive="neither").all()
        assert scores[task].nunique() > 10
