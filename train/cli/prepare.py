"""Checks raw logs and writes a prepared dataset: `pinfm prepare SOURCE [INPUT] --out DATASET`."""

import dataclasses
import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, get_type_hints

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.new_folder import require_free
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.sources.events import Events
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.films.movietweetings import MovieTweetings
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate

SUMMARY = "check raw logs and write a prepared dataset"

SOURCES: dict[str, type[Any]] = {
    "kuairand": KuaiRand,
    "movielens": MovieLens,
    "movietweetings": MovieTweetings,
    "events": Events,
    "simulate": Simulate,
}
_INPUT_HELP = {
    "kuairand": "folder of the KuaiRand-Pure tables (default: the sample in the package)",
    "movielens": "folder of the data set",
    "movietweetings": "folder of the data set",
    "events": "the events table: a file, or a folder of files",
}


def configure(parser: ArgumentParser) -> None:
    """Adds a subcommand for each source."""
    sources = parser.add_subcommands(dest="source", metavar="SOURCE")
    for name, kind in SOURCES.items():
        summary = str(kind.__doc__).splitlines()[0]
        source = type(parser)(description=summary)
        skip = set()
        if name in _INPUT_HELP:
            skip = {"path"}
            if name == "kuairand":
                source.add_argument("input", type=Path | None, nargs="?", default=None, help=_INPUT_HELP[name])
            else:
                source.add_argument("input", type=Path, help=_INPUT_HELP[name])
        source.add_argument("--report", type=Path | None, default=None, help="write the results to this JSON file")
        source.add_argument("--out", type=Path, required=True, help="the folder to create")
        _add_fields(source, kind, skip)
        _add_fields(source, PrepareOptions, set())
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


def _add_fields(parser: ArgumentParser, kind: type[Any], skip: set[str]) -> None:
    """Adds a flag for each field of a dataclass: its words joined by dashes, its help from the docstring."""
    types = get_type_hints(kind)
    for field in dataclasses.fields(kind):
        if field.name in skip:
            continue
        told = re.search(rf"^ +{field.name}: (.*(?:\n {{12,}}.*)*)", str(kind.__doc__), re.MULTILINE)
        factory = field.default_factory
        required = field.default is dataclasses.MISSING and factory is dataclasses.MISSING
        default = field.default if factory is dataclasses.MISSING else factory()
        settings: dict[str, Any] = {"required": True} if required else {"default": default}
        parser.add_argument(
            f"--{field.name.replace('_', '-')}",
            type=types[field.name],
            help=" ".join(told[1].split()) if told else None,
            **settings,
        )


def _table(report: dict[str, Any]) -> str:
    counts = report["counts"]
    lines = [f"{report['out']}: {report['source']}, {report['seconds']:.1f} s, {report['num_buckets']} buckets", ""]
    lines += [f"  {key:<12}{counts[key]:>12,}" for key in ("events", "users", "items")]
    lines += ["", f"  {'split':<12}{'requests':>12}{'impressions':>13}   from .. to (UTC)"]
    for split, bounds in report["splits"].items():
        requests, impressions = counts["requests"].get(split, 0), counts["impressions"].get(split, 0)
        start, end = (datetime.fromtimestamp(bound, UTC).strftime("%Y-%m-%d %H:%M") for bound in bounds)
        lines.append(f"  {split:<12}{requests:>12,}{impressions:>13,}   {start} .. {end}")
    lines += [f"  outside the splits: {counts['outside_splits']:,} impressions"] if counts["outside_splits"] else []
    lines += [f"  rejected: {count:,} x {reason}" for reason, count in counts["rejected"].items()]
    return "\n".join(lines)
