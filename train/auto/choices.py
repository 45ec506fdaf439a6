"""Settings that rules have chosen, one after the other, each with its reason."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, is_dataclass
from typing import Any

from pinfm.train.auto.facts import Facts
from pinfm.train.config import RunConfig

# Dotted name of a setting -> its value.
Settings = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """A setting, and who chose it why.

    Args:
        setting: its dotted name, such as `tower.dim`.
        value: of it.
        why: one sentence for whoever reads the config.
        yours: whether the command line says it, or a file that it names; then `why` may tell what the rule has.
    """

    setting: str
    value: Any
    why: str
    yours: bool = False


# Yields (setting, value, why). Of the settings it is given those are final that earlier rules speak of, and those that
# the user said: a rule that depends on another setting asks for it there.
Rule = Callable[[Facts, Settings], Iterator[tuple[str, Any, str]]]


def choose(rules: Sequence[Rule], facts: Facts, given: Settings) -> tuple[Choice, ...]:
    """Settles every setting that the rules speak of, and those that are given.

    Args:
        rules: in their order; the first that speaks of a setting settles it.
        facts: of the dataset.
        given: what the user says; it counts before any rule.
    """
    settled: dict[str, Any] = settings_of(RunConfig()) | dict(given)
    choices: dict[str, Choice] = {}
    for rule in rules:
        for setting, value, why in rule(facts, settled):
            if setting in choices:
                continue
            yours = setting in given
            if yours and given[setting] != value:
                why = f"auto would take {value}: {why}"
            settled[setting] = given.get(setting, value)
            choices[setting] = Choice(setting=setting, value=settled[setting], why=why, yours=yours)
    for setting, value in given.items():
        choices.setdefault(setting, Choice(setting=setting, value=value, why="no rule speaks of it", yours=True))
    return tuple(choices.values())


def settings_of(config: Any, prefix: str = "") -> dict[str, Any]:
    """Every setting of a run by its dotted name.

    Args:
        config: a RunConfig, or a part of one.
        prefix: of every name.

    Example:
        >>> settings_of(RunConfig())["tower.dim"]
        64
    """
    found: dict[str, Any] = {}
    for field in fields(config):
        name, value = prefix + field.name, getattr(config, field.name)
        found |= settings_of(value, f"{name}.") if is_dataclass(value) else {name: value}
    return found
