"""Figures outlive the runs that they come from: a report's rows are those measured now and those that it has already.

Each is `{"settings": [...], "seeds": {seed: figures}, "revisions": {seed: what the run's manifest says of git}}`.
"""

import argparse
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.parts.pages import RESULTS, report_path, write_results

# Row -> seed -> figures.
Results = dict[str, dict[int, dict[str, Any]]]


def add_write_flag(parser: argparse.ArgumentParser) -> None:
    """Adds the flag that has the table written down."""
    told = "write docs/results/ and docs/results.md; figures that stand there of runs that are not below --out stay"
    parser.add_argument("--write", action="store_true", help=told)


def with_kept(
    report: Path, results: Results, settings: Mapping[str, Sequence[str]], revision: Callable[[str, int], Any]
) -> dict[str, Any]:
    """The rows to write: `results`, and what the report holds of other rows and seeds under the same settings.

    What it holds under others is told and left behind.

    Args:
        report: the JSON file; need not exist.
        results: measured now.
        settings: of every row of the benchmark, in the order of its table.
        revision: row and seed -> what made that run.
    """
    before = json.loads(report.read_text())["rows"] if report.exists() else {}
    same = {name: row for name, row in before.items() if name in settings and row["settings"] == list(settings[name])}
    if len(same) < len(before):
        print(f"made under other settings, so not kept: {', '.join(before.keys() - same.keys())} of {report}")
    rows = {}
    for name, words in settings.items():
        kept = same.get(name, {"seeds": {}, "revisions": {}})
        found = results.get(name, {})
        seeds = kept["seeds"] | {str(seed): figures for seed, figures in found.items()}
        revisions = kept["revisions"] | {str(seed): revision(name, seed) for seed in found}
        if seeds:
            in_order = sorted(seeds, key=int)
            rows[name] = {
                "settings": list(words),
                "seeds": {seed: seeds[seed] for seed in in_order},
                "revisions": {seed: revisions[seed] for seed in in_order},
            }
    return rows


def write_kept(
    section: str,
    results: Results,
    settings: Mapping[str, Sequence[str]],
    revision: Callable[[str, int], Any],
    as_tables: Callable[[Results], str],
    **others: Any,
) -> None:
    """Writes a section of docs/results.md and its JSON file, with the figures that stand there already.

    Args:
        section: of the page.
        results: measured now.
        settings: of every row of the section, in the order of its table.
        revision: row and seed -> what made that run.
        as_tables: Markdown of results.
        others: what the JSON file tells beside the rows.
    """
    rows = with_kept(report_path(RESULTS, section), results, settings, revision)
    write_results(RESULTS, section, as_tables(results_of(rows)), {**others, "rows": rows})


def kept_settings(section: str) -> dict[str, list[str]]:
    """The settings of the rows that a section's JSON file holds; rows that are not measured now stay with theirs."""
    report = report_path(RESULTS, section)
    rows = json.loads(report.read_text())["rows"] if report.exists() else {}
    return {name: row["settings"] for name, row in rows.items()}


def results_of(rows: Mapping[str, Any]) -> Results:
    """The figures of a report's rows."""
    return {name: {int(seed): figures for seed, figures in row["seeds"].items()} for name, row in rows.items()}
