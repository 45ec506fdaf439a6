"""How a benchmark's figures are written down: Markdown tables, sections of a page of docs/, and JSON."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pinfm.train.run_folder.manifest import git_revision, hardware, versions

RESULTS = Path("docs/results.md")


def write_report(report: Path, values: Mapping[str, Any]) -> None:
    """Writes a benchmark's JSON, with what it was made with."""
    report.parent.mkdir(parents=True, exist_ok=True)
    made_with = {"git": git_revision(), "hardware": hardware(), "versions": versions()}
    report.write_text(json.dumps({**made_with, **values}, indent=2) + "\n")


def report_path(page: Path, section: str) -> Path:
    """The JSON file of a section: in the folder of the page's name, without the spaces that scripts stumble over."""
    return page.with_suffix("") / f"{section.replace(' ', '_')}.json"


def write_results(page: Path, section: str, markdown: str, values: Mapping[str, Any]) -> None:
    """Writes a benchmark's JSON, with what it was made with, and its section of the results page.

    Args:
        page: the Markdown page; holds `<!-- section -->` and, after it, `<!-- end of section -->`.
        section: the benchmark's name.
        markdown: what stands between the two.
        values: the figures.

    Raises:
        ValueError: the page has no such section.
    """
    write_report(report_path(page, section), values)
    begin, end = f"<!-- {section} -->\n", f"<!-- end of {section} -->"
    text = page.read_text()
    if begin not in text or end not in text:
        raise ValueError(f"{page} has no section between {begin.strip()} and {end}; add the two lines")
    head, rest = text.split(begin)
    page.write_text(head + begin + markdown.strip() + "\n" + end + rest.split(end, 1)[1])
