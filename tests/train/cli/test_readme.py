"""The commands and the Python for logs of one's own, as README and docs/data.md have them."""

import shlex
from pathlib import Path

import numpy as np
import pandas as pd
import runs
import torch

from pinfm.model import Candidates, History
from pinfm.train.cli.main import main

README = Path(__file__).parents[3] / "README.md"
DATA = README.parent / "docs" / "data.md"
DAY = 86_400


def block(page, heading, language, place=1):
    """The first block of a language below a heading, or a later one."""
    return page.read_text().split(f"## {heading}\n")[1].split(f"```{language}\n")[place].split("```")[0]


def commands(heading, place):
    """The lines of a block of commands, continued lines joined."""
    return [shlex.split(line) for line in block(README, heading, "sh", place).replace("\\\n", " ").splitlines()]


def one_user():
    """A history and its candidates, as the README's Python has them."""
    history = {"item_id": torch.tensor([3, 5]), "timestamp": torch.tensor([1_750_000_000, 1_750_000_060])}
    history |= {"action": torch.tensor([1, 2]), "surface": torch.tensor([1, 1]), "lengths": torch.tensor([2])}
    candidates = {"item_id": torch.tensor([4, 5, 6]), "created_at": torch.full((3,), 1_749_000_000)}
    candidates |= {"lengths": torch.tensor([3]), "request_timestamp": torch.tensor([1_750_000_100])}
    return {"history": History(**history), "candidates": Candidates(content=torch.zeros(3, 0), **candidates)}


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
    items = pd.DataFrame({"item_id": range(items), "created_at": now, "shop": np.arange(items) % 5})
    items.to_parquet(folder / "items.parquet")


def take(steps, verbs):
    """Runs the commands of a road, which has these verbs."""
    assert [words[:2] for words in steps] == [["pinfm", verb] for verb in verbs.split()]
    for words in steps:
        if "requests.parquet" in words:
            pd.read_parquet("runs/shown/requests.parquet").to_parquet("requests.parquet")
        assert main(words[1:]) == 0, words


def test_your_own_logs_become_scores(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_logs(tmp_path)
    runs.write_config(runs.CONFIG, tmp_path / "my.yaml")
    take(commands("Your own logs", 1), "prepare pretrain finetune evaluate export score")
    take(commands("Your own logs", 2), "prepare finetune evaluate export score")
    for scores in (pd.read_parquet("scores.parquet"), pd.read_parquet("scores-shown.parquet")):
        for task in ("click", "save"):
            assert scores[task].between(0, 1, inclusive="neither").all()
            assert scores[task].nunique() > 10
    names = {**one_user(), "requests": pd.read_parquet("runs/ranker/requests.parquet")}
    exec(block(README, "Your own logs", "python"), names)
    torch.testing.assert_close(names["features"], names["tower"](names["history"], names["candidates"]))
    assert main(["score", "model", "runs/ranker/requests.parquet", "--out", "again.parquet"]) == 0
    pd.testing.assert_frame_equal(names["scores"], pd.read_parquet("again.parquet"))
    exec(block(DATA, "The prepared dataset", "python").replace("DATASET", "dataset"), names)
    assert (names["end"] >= names["start"]).all()
    assert len(names["end"]) == names["requests"].num_rows > 0
