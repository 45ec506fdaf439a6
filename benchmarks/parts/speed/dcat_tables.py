"""A sweep of shapes as tables that fit a page: a line a shape, a column for each number of users."""

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.parts.speed.performance import as_table

# The form that users run: frozen TorchScript when serving, the module when training.
OURS = {"inference": "exported", "training": "grouped"}
COLUMNS = {
    "candidates_per_s": "candidates/s",
    "ratio_to_self_attention": "ratio",
    "share_of_peak": "peak",
    "peak_mib": "MiB",
}


def sweep_tables(rows: Sequence[Mapping[str, Any]]) -> str:
    """Markdown: of every mode and precision, what the form that users run reaches; other forms stand in the report.

    Args:
        rows: of a report of `benchmarks.dcat`.
    """
    parts = []
    for mode, impl in OURS.items():
        ours = [row for row in rows if row["mode"] == mode and row["impl"] == impl]
        for dtype in dict.fromkeys(row["dtype"] for row in ours):
            chosen = [row for row in ours if row["dtype"] == dtype]
            difference = max(row["max_rel_diff"] for row in chosen)
            heading = f"{mode.capitalize()}, {dtype}, `{impl}`; `max_rel_diff` at most {difference:.1e}:"
            parts.append(f"{heading}\n\n{as_table(_lines(chosen))}")
    return "\n\n".join(parts)


def _lines(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """A line for each kind of lengths, history and number of candidates; nothing stands where a shape has no row."""
    users = sorted({row["users"] for row in rows})
    figures = {f"{heading}, {count}": None for heading in COLUMNS.values() for count in users}
    lines: dict[tuple[Any, ...], dict[str, Any]] = {}
    for row in rows:
        shape = {key: row[key] for key in ("lengths", "history", "candidates")}
        line = lines.setdefault(tuple(shape.values()), {**shape, **figures})
        line |= {f"{heading}, {row['users']}": row[name] for name, heading in COLUMNS.items()}
    return list(lines.values())
