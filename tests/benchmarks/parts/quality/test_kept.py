"""What is measured now joins what the report has."""

import json

from benchmarks.parts.quality import kept
from benchmarks.parts.quality.kept import results_of, with_kept

SETTINGS = {"base": (), "wide": ("--dim", "8"), "narrow": ("--dim", "2")}


def test_rows_and_seeds_that_are_not_measured_again_stay(tmp_path):
    report = tmp_path / "report.json"
    first = with_kept(report, {"wide": {0: {"auc": 0.1}, 10: {"auc": 0.2}}}, SETTINGS, lambda row, seed: "old")
    seeds, revisions = {"0": {"auc": 0.1}, "10": {"auc": 0.2}}, {"0": "old", "10": "old"}
    assert first == {"wide": {"settings": ["--dim", "8"], "seeds": seeds, "revisions": revisions}}
    report.write_text(json.dumps({"rows": first}))
    new = {"wide": {2: {"auc": 0.3}, 0: {"auc": 0.4}}, "base": {0: {"auc": 0.5}}}
    second = with_kept(report, new, SETTINGS, lambda row, seed: f"{row}-{seed}")
    assert results_of(second) == {
        "base": {0: {"auc": 0.5}},
        "wide": {0: {"auc": 0.4}, 2: {"auc": 0.3}, 10: {"auc": 0.2}},
    }
    assert list(second) == ["base", "wide"]
    assert second["wide"]["revisions"] == {"0": "wide-0", "2": "wide-2", "10": "old"}


def test_figures_under_other_settings_go_and_are_named(tmp_path, capsys):
    report = tmp_path / "report.json"
    old = {"settings": ["--dim", "4"], "seeds": {"0": {"auc": 0.1}}, "revisions": {"0": "old"}}
    report.write_text(json.dumps({"rows": {"wide": old, "gone": old}}))
    assert with_kept(report, {}, SETTINGS, lambda row, seed: "new") == {}
    told = capsys.readouterr().out
    assert told.startswith("made under other settings, so not kept: ")
    assert {"wide", "gone"} == set(told.split(": ")[1].split(" of ")[0].split(", "))


def test_a_section_s_rows_keep_their_settings(tmp_path, monkeypatch):
    monkeypatch.setattr(kept, "RESULTS", tmp_path / "results.md")
    assert kept.kept_settings("some section") == {}
    report = tmp_path / "results" / "some_section.json"
    report.parent.mkdir()
    report.write_text(json.dumps({"rows": {"wide": {"settings": ["--dim", "4"], "seeds": {}, "revisions": {}}}}))
    assert kept.kept_settings("some section") == {"wide": ["--dim", "4"]}
