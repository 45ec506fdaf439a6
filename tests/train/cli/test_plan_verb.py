"""`pinfm plan` on the command line: the paper's tables on large and on small hardware, and a dataset's features."""

import json

import pytest
import runs

from pinfm.train.cli.main import main


def plan(tmp_path, *flags):
    report = tmp_path / "plan.json"
    assert main(["plan", *map(str, flags), "--report", str(report)]) == 0
    return json.loads(report.read_text())


@pytest.mark.parametrize(("ranks", "per_rank"), [(8, 40.96e9 / 8), (2, 40.96e9 / 2)])
def test_the_papers_tables_fit_large_gpus(tmp_path, capsys, ranks, per_rank):
    report = plan(tmp_path, "--config", "pinfm_20b", "--world-size", ranks, "--hbm-gib", 80)
    assert [table["table"] for table in report["tables"]] == [f"item_{k}" for k in range(8)]
    assert sum(table["rows"] * table["columns"] for table in report["tables"]) == 20_480_000_000
    assert [rank["rank"] for rank in report["ranks"]] == list(range(ranks))
    shards = [{"rank": rank, "rows": 80_000_000 // ranks, "columns": 32} for rank in range(ranks)]
    assert [table["shards"] for table in report["tables"]] == [shards] * 8
    for rank in report["ranks"]:
        assert rank["hbm"]["weights"] == pytest.approx(per_rank / 2**30)
        assert rank["hbm"]["optimizer"] == pytest.approx(8 * 80e6 * 4 / ranks / 2**30)
        assert rank["hbm"]["buffers"] > 0
        assert set(rank["host"].values()) == {0.0}
        assert rank["communication_ms"] > 0
    printed = capsys.readouterr().out
    assert "pinfm has trained on one GPU (H200), and no plan of several has been run.\n" in printed
    assert f"0 - {ranks - 1}" in printed
    assert "row_wise" in printed
    assert f"{ranks} of {80_000_000 // ranks:,} x 32\n" in printed


def test_every_rank_holds_the_maps_of_managed_ids(tmp_path, capsys):
    flags = ("--config", "pinfm_20b", "--item_table.ids", "managed")
    at_2, at_8 = (plan(tmp_path, *flags, "--world-size", ranks)["ranks"] for ranks in (2, 8))
    # Of distance-LFU: id, row, frequency and time; and as many ids that wait, with their counts.
    assert {rank["host"]["maps"] for rank in at_2 + at_8} == {80_000_000 * 6 * 8 / 2**30}
    assert "host maps" in capsys.readouterr().out


def test_too_small_hardware_ends_in_one_sentence(capsys):
    assert main(["plan", "--config", "pinfm_20b", "--world-size", "2", "--hbm-gib", "16"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("pinfm: the id tables need 40.5 GiB")
    assert "13.3 GiB short; take 4 ranks" in error
    assert error.count("\n") == 1


@pytest.mark.parametrize(("flag", "ranks"), [("--inter-node-gb-s", 16), ("--intra-node-gb-s", 8)])
def test_slower_networks_take_longer(tmp_path, flag, ranks):
    flags = ("--config", "pinfm_20b", "--world-size", ranks)
    fast, slow = (plan(tmp_path, *flags, flag, bandwidth) for bandwidth in (50, 5))
    assert fast["ranks"][0]["communication_ms"] < slow["ranks"][0]["communication_ms"]


def test_a_table_that_is_not_cut_says_where_it_is(tmp_path, capsys):
    flags = ("--config", "pinfm_20b", "--item_table.sharding", "table_wise", "--phase", "finetune")
    report = plan(tmp_path, *flags, "--world-size", 8)
    assert sorted(table["shards"][0]["rank"] for table in report["tables"]) == list(range(8))
    printed = capsys.readouterr().out
    assert "1 of 80,000,000 x 32 on rank 7\n" in printed
    assert "The item tables alone: with --data those of the user id and of the features are planned too." in printed


def test_a_datasets_features_are_planned_too(tmp_path, dataset, capsys):
    config = runs.write_config(runs.CONFIG, tmp_path / "config.yaml")
    flags = ("--config", config, "--world-size", 2, "--host-gib", 1, "--data", dataset, "--phase", "finetune")
    report = plan(tmp_path, *flags)
    assert "--data" not in capsys.readouterr().out
    names = [table["table"] for table in report["tables"]]
    assert {"item_0", "user_id_0", "user_id_1"} <= set(names)
    assert all(rank["hbm"] == dict.fromkeys(("weights", "optimizer", "buffers"), 0.0) for rank in report["ranks"])
    assert sum(rank["host"]["weights"] for rank in report["ranks"]) == pytest.approx(
        sum(table["gib"] for table in report["tables"])
    )
