"""Every figure is drawn from the JSON that its benchmark writes."""

import copy
import json

from benchmarks import plots


def rankers(names):
    """Rows of two seeds, with the metrics that the figures read."""
    metrics = {"auc": 0.7, "hit3": 0.5, "by_age": {"<7d": {"hit3": 0.4}, "unseen": {"hit3": 0.2}}}
    seeds = {"0": {"save": metrics}, "1": {"save": {**metrics, "auc": 0.71}}}
    return {"rows": {name: {"seeds": copy.deepcopy(seeds)} for name in names}}


def test_figures_are_drawn_of_what_was_measured(tmp_path, monkeypatch, capsys):
    curve = {"curve": {"00000010": 0.1, "00000020": 0.2}}
    uneven = rankers(["no_tower", "none", "full"])
    full = uneven["rows"]["full"]["seeds"]
    full["2"] = full.pop("0")
    uneven["rows"]["none"]["seeds"]["0"]["save"]["by_age"]["unseen"]["hit3"] = None
    reports = {
        "cold_start_simulate": uneven,
        "fusion_kuairand": rankers(["no_tower", "fine_tuned"]),
        "movielens": {"rows": {"base": {"seeds": {"0": curve, "1": curve}}}},
    }
    for name, report in reports.items():
        (tmp_path / f"{name}.json").write_text(json.dumps(report))
    monkeypatch.setattr("sys.argv", ["plots", "--results", str(tmp_path)])
    plots.main()
    assert {path.stem for path in tmp_path.glob("*.svg")} == set(reports)
    told = capsys.readouterr().out
    assert told.count("does not exist yet") == len(plots.FIGURES) - len(reports)
    for name, word in (("cold_start_simulate", "unseen"), ("fusion_kuairand", "fine_tuned"), ("movielens", "NDCG@10")):
        assert word in (tmp_path / f"{name}.svg").read_text()
