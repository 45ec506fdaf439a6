"""How the benchmarks of speed and scale tell what they found: on the screen, as JSON, and on a page of docs/."""

import argparse
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts.pages import write_report, write_results
from pinfm.train.comparison.report.markdown import table

PAGE = Path("docs/performance.md")

# Name -> rows of equal keys.
Found = Mapping[str, Sequence[Mapping[str, Any]]]


def add_output_flags(parser: argparse.ArgumentParser) -> None:
    """Adds the flags that say how many threads to use and where to write."""
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--report", type=Path, help="JSON file to write")
    parser.add_argument("--write", action="store_true", help="write the page in docs/ and its JSON file")


def put_out(
    args: argparse.Namespace,
    section: str,
    found: Found,
    page: Path = PAGE,
    markdown: str | None = None,
) -> None:
    """Prints tables and writes what was asked for.

    Args:
        args: of a parser with `add_output_flags`.
        section: of the page, and name of its JSON file.
        found: name -> rows of equal keys, a table each.
        page: holds the section; the JSON file goes into the folder of its name.
        markdown: what the page shows; by default all that was found.
    """
    tables = "\n\n".join(as_table(rows) for rows in found.values())
    print(tables)
    keep_report(args, found)
    if args.write:
        write_results(page, section, markdown or tables, _values(args, found))


def keep_report(args: argparse.Namespace, found: Found) -> None:
    """Writes the report that was asked for; a long run does so now and then, and loses little when it is stopped."""
    if args.report is not None:
        write_report(args.report, _values(args, found))


def _values(args: argparse.Namespace, found: Found) -> dict[str, Any]:
    return {"threads": args.threads, "processor": torch.cpu.get_capabilities().get("cpu_name"), **found}


def median_row(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """One row of rows that several turns gave: the median of every number, and the words, which are the same in all."""
    return {
        name: value if isinstance(value, str) else statistics.median(row[name] for row in rows)
        for name, value in rows[0].items()
    }


def as_table(rows: Sequence[Mapping[str, Any]]) -> str:
    """A Markdown table with the keys for a heading."""
    return table(list(rows[0]), [[_shown(value) for value in row.values()] for row in rows])


def _shown(value: float | str | bool | None) -> str:
    if value is None or isinstance(value, bool):
        return "yes" if value else ""
    return value if isinstance(value, str) else f"{value:.4g}"
