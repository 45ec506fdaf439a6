"""Checks raw logs and writes a prepared dataset: `pinfm prepare SOURCE [INPUT] --out DATASET`."""

import dataclasses
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.files.new_folder import require_free
from pinfm.train.cli.flags.words import name_list
from pinfm.train.data.info import SPLITS
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.sources.events import Events
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.films.movietweetings import MovieTweetings
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate

SUMMARY = "check raw logs and write a prepared dataset"

# The one list of sources. Each obeys `train.data.tables.Source`: the fields of its dataclass are the flags, `path` is
# the argument INPUT, and its docstring is their help.
SOURCES: dict[str, type[Any]] = {kind.name: kind for kind in (KuaiRand, MovieLens, MovieTweetings, Events, Simulate)}

# How the log writes an id, where it is no plain integer.
_SPELT = {"text": "text, as its 64-bit hash (docs/data.md)", "uint64": "unsigned, by two's complement (docs/data.md)"}
_CANDIDATES = {"shown": "as they were shown", "sampled": "put together from what was chosen, not shown (docs/data.md)"}
# How flags that are text are read: YAML would make numbers, booleans and nothing of some.
_AS_WRITTEN: dict[Any, Any] = {list[str]: name_list, list[str] | None: name_list, str | None: str}


def configure(parser: ArgumentParser) -> None:
    """Adds a subcommand for each source."""
    sources = parser.add_subcommands(dest="source", metavar="SOURCE")
    for name, kind in SOURCES.items():
        summary = str(kind.__doc__).splitlines()[0]
        source = type(parser)(description=summary)
        source.add_argument("--report", type=Path | None, default=None, help="write the results to this JSON file")
        source.add_argument("--out", type=Path, required=True, help="the folder to create")
        _add_fields(source, kind)
        _add_fields(source, PrepareOptions)
        sources.add_subcommand(name, source, help=summary)


def run(args: Namespace) -> dict[str, Any]:
    """Prepares the dataset, prints a summary and returns the report.

    Raises:
        UserError: see `prepare`.
    """
    flags = args[args.source].as_dict()
    del flags["report"]
    if "input" in flags:
        flags["path"] = flags.pop("input")
    out = flags.pop("out")
    options = PrepareOptions(**{field.name: flags.pop(field.name) for field in dataclasses.fields(PrepareOptions)})
    source = SOURCES[args.source](**flags)
    require_free(out)
    source.require_inputs()

    from pinfm.train.data.prepare import prepare

    report = prepare(source, out, options)
    print(_table(report))
    return report


def _add_fields(parser: ArgumentParser, kind: type[Any]) -> None:
    """Adds a flag for each field of a dataclass, its words joined by dashes; `path` is the argument INPUT."""
    types = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        factory = field.default_factory
        required = field.default is dataclasses.MISSING and factory is dataclasses.MISSING
        kind_of_value = _AS_WRITTEN.get(types[field.name], types[field.name])
        settings: dict[str, Any] = {"type": kind_of_value, "help": _told(kind, field.name)}
        if not required:
            settings["default"] = field.default if factory is dataclasses.MISSING else factory()
        if field.name == "path":
            settings |= {} if required else {"nargs": "?"}
            parser.add_argument("input", **settings)
        else:
            settings |= {"required": True} if required else {}
            parser.add_argument(f"--{field.name.replace('_', '-')}", **settings)


def _told(kind: type[Any], field: str) -> str:
    """What the docstring says of a field, of the class or of the one that it has the field from."""
    for documented in kind.__mro__:
        told = re.search(rf"^ +{field}: (.*(?:\n {{12,}}.*)*)", documented.__doc__ or "", re.MULTILINE)
        if told:
            return " ".join(told[1].split())
    raise AssertionError(f"the docstring of {kind.__name__} says nothing of {field}")


def _table(report: dict[str, Any]) -> str:
    counts = report["counts"]
    lines = [f"{report['out']}: {report['source']}, {report['seconds']:.1f} s, {report['num_buckets']} buckets", ""]
    lines += [f"  {key:<12}{counts[key]:>12,}" for key in ("events", "users", "items")]
    by_time = report["split_last"] is None
    span = "from .. to (UTC)" if by_time else "by place"
    lines += ["", f"  {'split':<12}{'requests':>12}{'impressions':>13}{'events':>12}   {span}"]
    for split in SPLITS:
        rows = [counts[kind].get(split, 0) for kind in ("requests", "impressions", "events_by_split")]
        told = _span(report["splits"][split]) if by_time else _place(split, report["split_last"])
        lines.append(f"  {split:<12}{rows[0]:>12,}{rows[1]:>13,}{rows[2]:>12,}   {told}")
    lines += [f"  candidates: {_CANDIDATES[report['candidates']]}"] if report["counts"]["requests"] else []
    young, old = report["item_age_thresholds"]
    lines += [f"  items are young below {young}, old from {old} on"]
    lines += [f"  {column}: {_SPELT[kind]}" for column, kind in report["ids"].items()]
    lines += [f"  {column}: whole numbers" for column in report["numbered"]]
    lines += [f"  live counts: {_counters(report['live_counts'])}"] if report["live_counts"] else []
    lines += [f"  outside the splits: {counts['outside_splits']:,} impressions"] if counts["outside_splits"] else []
    lines += [f"  rejected: {count:,} x {reason}" for reason, count in counts["rejected"].items()]
    lines += [f"  note: {note}" for note in report["notes"]]
    return "\n".join(lines)


def _counters(spec: dict[str, Any]) -> str:
    """What is counted, in one line."""
    return f"of {', '.join(spec['of'])}: {', '.join(spec['kinds'])}, each in {', '.join(spec['windows'])}"


def _span(bounds: Sequence[int]) -> str:
    start, end = (datetime.fromtimestamp(bound, UTC).strftime("%Y-%m-%d %H:%M") for bound in bounds)
    return f"{start} .. {end}"


def _place(split: str, last: int) -> str:
    newest = "newest" if last == 1 else f"newest {last}"
    return {"train": "the rest", "validation": f"the {last} before" if last > 1 else "the one before"}.get(
        split, f"each user's {newest}"
    )
