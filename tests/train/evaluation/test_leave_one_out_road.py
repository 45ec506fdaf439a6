"""A log of two columns, users and items in order: prepared, pretrained and evaluated by leave-one-out."""

import json
from dataclasses import replace

import pytest
import runs

from pinfm.train.cli.main import main

ITEMS, USERS = 60, 40


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    phase = replace(runs.CONFIG.pretrain, epochs=30, optimizer=replace(runs.OPTIMIZER, warmup_steps=3))
    return runs.write_config(replace(runs.CONFIG, pretrain=phase), tmp_path_factory.mktemp("config") / "config.yaml")


@pytest.mark.parametrize("order", ["user", "file"])
def test_the_next_item_of_a_cycle_is_found(tmp_path, config, order):
    # Each user goes round the same circle of items from a place of its own; one has too few events to be asked for.
    walks = [[(7 * user + step) % ITEMS for step in range(12 + user % 3)] for user in range(USERS)] + [[0, 1]]
    rows = [(user, item) for user, walk in enumerate(walks) for item in walk]
    if order == "file":
        rows = [(user, walk[step]) for step in range(14) for user, walk in enumerate(walks) if step < len(walk)]
    log = tmp_path / "log.csv"
    log.write_text("user_id,item_id\n" + "".join(f"{user},{item}\n" for user, item in rows))
    data, run, report = (tmp_path / name for name in ("dataset", "run", "report.json"))
    flags = ["--action", "view", "--order-only", order, "--split-by", "leave-one-out", "--num-buckets", "4"]
    assert main(["prepare", "events", str(log), *flags, "--out", str(data)]) == 0
    assert main(["pretrain", "--config", str(config), "--data", str(data), "--out", str(run)]) == 0
    for split in ("validation", "test"):
        evaluated = ["evaluate", str(run), "--data", str(data), "--split", split, "--report", str(report)]
        assert main(evaluated) == 0
        found = json.loads(report.read_text())["retrieval"]
        assert found["queries"] == USERS
        assert found["hr@10"] > 0.5  # by chance 10 of some 50 items that are not in the history
