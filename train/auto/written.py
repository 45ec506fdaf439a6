"""What was chosen, as a table on the terminal and as a config to edit."""

import textwrap
from collections.abc import Iterable, Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any

import yaml

from pinfm.embeddings.files.whole import write_whole
from pinfm.train.auto.choices import Choice
from pinfm.train.config import RunConfig

FILE = "auto.yaml"
_WIDTH = 120


def choices_table(choices: Iterable[Choice]) -> str:
    """A line a setting: its name, its value, who chose it why."""
    rows = [(choice.setting, f"{_yaml(choice.value)}{' (yours)' * choice.yours}", choice.why) for choice in choices]
    rows = [("setting", "value", "why"), *rows]
    first, second = (max(len(row[column]) for row in rows) + 2 for column in (0, 1))
    lines = []
    for setting, value, why in rows:
        told = textwrap.wrap(why, max(40, _WIDTH - first - second)) or [""]
        lines += [f"{setting:<{first}}{value:<{second}}{told[0]}".rstrip()]
        lines += [" " * (first + second) + more for more in told[1:]]
    return "\n".join(lines)


def write_config(path: Path, config: RunConfig, choices: Iterable[Choice], heading: str) -> None:
    """Writes a config with every setting, and above each that was chosen the reason.

    Args:
        path: of the YAML file; `--config` reads it.
        config: the settings.
        choices: among them.
        heading: first line of the file, a comment.
    """
    reasons = {choice.setting: f"{'Yours; ' * choice.yours}{choice.why}" for choice in choices}
    lines = [*_comment(heading, ""), *_lines(config, "", "", reasons)]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, "\n".join(lines) + "\n")


def _lines(part: Any, prefix: str, indent: str, reasons: dict[str, str]) -> Iterator[str]:
    for field in fields(part):
        name, value = f"{prefix}{field.name}", getattr(part, field.name)
        if is_dataclass(value):
            yield f"{indent}{field.name}:"
            yield from _lines(value, f"{name}.", indent + "  ", reasons)
            continue
        if name in reasons:
            yield from _comment(reasons[name], indent)
        yield f"{indent}{field.name}: {_yaml(value)}"


def _comment(text: str, indent: str) -> list[str]:
    return textwrap.wrap(text, _WIDTH, initial_indent=f"{indent}# ", subsequent_indent=f"{indent}# ")


def _yaml(value: Any) -> str:
    """A value on one line."""
    plain = list(value) if isinstance(value, tuple) else value
    return yaml.safe_dump(plain, default_flow_style=True, width=float("inf")).removesuffix("...\n").strip()
