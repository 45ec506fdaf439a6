"""Writes what a comparison found: OUT/interactions.json, .md and .svg."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

from pinfm.embeddings.files.whole import write_whole
from pinfm.train.comparison.report.page import forms_table, notes, tasks_table
from pinfm.train.comparison.report.plot import draw
from pinfm.train.comparison.report.rows import Budget, Compared, make_rows, stability

NAME = "interactions"


def write_comparison(out: Path, compared: Compared, budget: Budget, baseline: str) -> dict[str, Any]:
    """Writes the three files.

    Args:
        out: the comparison's folder.
        compared: what `compare` returned.
        budget: what a form may cost.
        baseline: the form that the others are compared with.

    Returns:
        What the JSON file holds.
    """
    rows = make_rows(compared, budget, baseline)
    report = {
        "baseline": baseline,
        "budget": asdict(budget),
        "rank_stability": stability(rows),
        "rows": [{**asdict(row), "auc": row.auc} for row in rows],
        **compared,
    }
    write_whole(out / f"{NAME}.json", json.dumps(report, indent=2) + "\n")
    write_whole(out / f"{NAME}.svg", draw(rows, budget))
    tables = [forms_table(rows), notes(rows, budget, baseline), tasks_table(rows)]
    picture = f"![AUC against latency]({NAME}.svg)"
    write_whole(out / f"{NAME}.md", "\n\n".join(["# Interactions compared", *tables, picture]) + "\n")
    return report
