"""Paths among the flags: they are local, and `--report` never writes over what the verb reads or makes."""

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

from jsonargparse import Namespace

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.addresses import require_local

_OURS = ("dataset.json", "manifest.json", "signature.json")


def require_local_words(argv: Sequence[str]) -> None:
    """Refuses addresses of object stores among the words of a command.

    Raises:
        UserError: a word, or the value of a flag, is such an address.
    """
    for word in argv:
        found = re.match(r"(?:--[^=]*=)?([A-Za-z][A-Za-z0-9+.-]*://\S*)", word)
        if found:
            require_local(found[1])


def require_local_paths(args: Namespace) -> None:
    """Refuses addresses of object stores among the paths of a command, which a --config may hold.

    Raises:
        UserError: one is such an address.
    """
    for _, path in _paths(args):
        require_local(path)


def report_path(args: Namespace) -> Path | None:
    """The value of --report, which a verb with subcommands also takes behind them, where people look for it.

    Raises:
        UserError: when it is, or lies within, what --out makes, is a file that the verb reads, or cannot be written.
    """
    nested = [value.get("report") for value in vars(args).values() if isinstance(value, Namespace)]
    found: list[Path] = [path for path in (*nested, args.report) if path is not None]
    if not found:
        return None
    path = found[0]
    for flag, other in _paths(args):
        _require_apart(path, flag, other)
    return path


def require_writable(path: Path) -> None:
    """Makes the report's folder, before the work, which may take hours.

    Raises:
        UserError: when the report cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise _unwritable(path) from error
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _unwritable(path)


def _unwritable(path: Path) -> UserError:
    return UserError(f"--report {path} can't be written; give a file in a folder that can.")


def _require_apart(path: Path, flag: str, other: Path) -> None:
    report, named = path.resolve(), other.resolve()
    if report == named or (path.exists() and other.exists() and path.samefile(other)):
        raise UserError(f"--report {path} would write over {flag} ({other}); give another file.")
    if flag == "out" and named in report.parents:
        raise UserError(f"--report {path} lies within --out ({other}), which this verb makes; give a file beside it.")
    # A report beside others in a run's folder is in order, and so is a newer one in its place.
    if path.exists() and named in report.parents and (path.suffix != ".json" or path.name in _OURS):
        raise UserError(f"--report {path} would write over a file of {flag} ({other}); give another file.")


def _paths(value: Any, flag: str = "") -> Iterator[tuple[str, Path]]:
    """Every path among the flags, by the name of its flag or argument; of a nested one by that of the innermost."""
    # jsonargparse has a class of its own for the files of --config, which is a word where it may name a recipe.
    if isinstance(value, os.PathLike) or (flag == "config" and isinstance(value, str)):
        yield (flag, Path(value))
        return
    if isinstance(value, list | tuple):
        for inner in value:
            yield from _paths(inner, flag)
        return
    nested: dict[str, Any] = {}
    if isinstance(value, Namespace):
        nested = vars(value)
    elif is_dataclass(value) and not isinstance(value, type):
        nested = {field.name: getattr(value, field.name) for field in fields(value)}
    for name, inner in nested.items():
        if name != "report":
            yield from _paths(inner, name)
