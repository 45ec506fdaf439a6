"""`pinfm VERB`: find the verb, parse its flags, run it, write its report.

A verb is a module named under the entry point group `pinfm.verbs`, with `SUMMARY` (one line), `configure(parser)` and
`run(args) -> report` (a JSON-ready dictionary).

A verb's module imports no more than its flags need: `run` first looks at what it was given, and then imports torch,
pandas or DuckDB, which take seconds. So help, and a mistake, come at once.
"""

import json
import os
import sys
from collections.abc import Sequence
from importlib.metadata import entry_points, version
from pathlib import Path
from types import ModuleType
from typing import Any, NoReturn

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.whole import write_whole
from pinfm.train.cli.ends import ending
from pinfm.train.cli.flags.help import VerbHelp
from pinfm.train.cli.flags.lists import with_brackets
from pinfm.train.cli.flags.moved import moved
from pinfm.train.cli.flags.paths import report_path, require_local_paths, require_local_words, require_writable
from pinfm.train.cli.flags.spelled import as_flags, wrong_type
from pinfm.train.cli.quiet import hush_libraries, is_first_process
from pinfm.train.launch.statuses import MISTAKE
from pinfm.train.signals import sigterm_raises

# The order of the road, which is also the order of the help page; verbs of other packages follow.
ROAD = [
    "quickstart",
    "prepare",
    "pretrain",
    "finetune",
    "evaluate",
    "export",
    "score",
    "plan",
    "latency",
    "interactions",
]


class VerbParser(ArgumentParser):
    """An argument parser whose errors are one sentence."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"formatter_class": VerbHelp, **settings})

    def error(self, message: str, ex: Exception | None = None) -> NoReturn:
        """Raises UserError with the message on one line."""
        sentence = wrong_type(" ".join(line.strip() for line in message.strip().splitlines()), self)
        listed = "A list is one word, as in `--actions click,save`. " if _more_words(sentence) else ""
        raise UserError(f"{sentence.rstrip('.')}. {moved(sentence)}{listed}See `{self.prog} --help`.")


def entry() -> None:
    """The console script."""
    hush_libraries()
    try:
        status = main(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:
        # Who read the table has gone, as `head` does; Python would flush the rest once more, and complain.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    except OSError as error:
        # Such as a file that stdout goes to, on a full disk.
        end = ending(error)
        if end is None:
            raise
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        print(f"pinfm: {end[0]}", file=sys.stderr)
        status = end[1]
    sys.exit(status)


def main(argv: Sequence[str]) -> int:
    """Runs one verb.

    Returns:
        0 on success; else the status of what is told in one sentence on stderr, see `ending`.
    """
    verbs = {point.name: point for point in entry_points(group="pinfm.verbs")}
    if argv[:1] == ["--version"]:
        print(version("pinfm"))
        return 0
    try:
        with sigterm_raises():
            if not argv or argv[0] in ("-h", "--help"):
                print(_overview({name: verbs[name].load() for name in sorted(verbs, key=_road_order)}))
                return 0
            if argv[0] not in verbs:
                raise UserError(f"unknown verb {argv[0]!r}; choose one of {', '.join(sorted(verbs, key=_road_order))}.")
            run_verb(verbs[argv[0]].load(), argv[0], argv[1:])
            return 0
    except BaseException as error:
        end = ending(error)
        if end is None:
            raise
        sentence, status = end
        if status == MISTAKE or is_first_process():
            print(f"pinfm: {sentence}", file=sys.stderr)
        return status


def run_verb(verb: ModuleType, name: str, argv: Sequence[str]) -> None:
    """Parses the verb's flags, runs it, and writes what it reports where `--report` says."""
    require_local_words(argv)
    parser = VerbParser(prog=f"pinfm {name}", description=verb.__doc__)
    parser.add_argument("--report", type=Path | None, default=None, help="write the results to this JSON file")
    verb.configure(parser)
    try:
        _run(verb, name, parser, with_brackets(argv, parser))
    except UserError as error:
        # What a setting is called in the config; whoever reads this looks for the flag.
        raise UserError(as_flags(str(error), parser, argv)) from error


def _run(verb: ModuleType, name: str, parser: VerbParser, argv: Sequence[str]) -> None:
    try:
        args = _parsed(parser, list(argv))
    except (TypeError, AttributeError, UnicodeDecodeError) as error:
        # What jsonargparse lets through: a part of a config that is null or a list, a file that is no text.
        raise UserError(f"the flags or the config can't be read ({error}); see `pinfm {name} --help`.") from error
    except RecursionError as error:
        raise UserError("the flags or the config are nested too deep to be read; write them flat.") from error
    require_local_paths(args)
    path = report_path(args)
    if path is not None:
        require_writable(path)
    report = verb.run(args)
    if path is not None and is_first_process():
        text = json.dumps(report, indent=2) + "\n"
        # What is no file, such as /dev/stdout, must not be replaced by one.
        write_whole(path, text) if path.is_file() or not path.exists() else path.write_text(text)


def _parsed(parser: VerbParser, argv: list[str]) -> Namespace:
    """The instantiated flags; one of them may choose those that are not given, once all others are known."""
    args: Namespace | None = None
    for action in parser._actions:
        if hasattr(action, "completed"):
            args = action.completed(parser, argv)
    return parser.instantiate(parser.parse_args(argv)) if args is None else args


def _more_words(sentence: str) -> bool:
    """Whether words are left over that are no flags, as those of a list that is written with blanks."""
    left = sentence.partition("unrecognized arguments: ")[2]
    return bool(left) and not left.startswith("-")


def _road_order(name: str) -> tuple[int, str]:
    return (ROAD.index(name) if name in ROAD else len(ROAD), name)


def _overview(verbs: dict[str, ModuleType]) -> str:
    lines = [f"  {name:<12} {verb.SUMMARY}" for name, verb in verbs.items()]
    return "\n".join(
        [
            "usage: pinfm VERB [--help] [--report FILE.json] ...",
            "",
            *lines,
            "",
            "pinfm --version prints the version.",
        ]
    )


if __name__ == "__main__":
    entry()
