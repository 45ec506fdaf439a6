"""Lists of numbers among the flags, written as people write them: `256,128`, `256`, `[256, 128]`."""

from argparse import ArgumentTypeError
from collections.abc import Sequence
from typing import get_origin

from jsonargparse import ArgumentParser

from pinfm.train.cli.flags.words import name_list


def with_brackets(argv: Sequence[str], parser: ArgumentParser) -> list[str]:
    """The words of a command, the values of flags that take lists in brackets, which is how YAML writes them.

    Args:
        argv: words, without the verb.
        parser: with all flags of the verb.
    """
    lists = {
        option
        for action in parser._actions
        for option in action.option_strings
        if get_origin(getattr(action, "_typehint", None)) in (list, tuple)
    }
    words: list[str] = []
    for word in argv:
        flag, equals, value = word.partition("=")
        if equals and flag in lists:
            words.append(f"{flag}={_bracketed(value)}")
        elif words and words[-1] in lists:
            words.append(_bracketed(word))
        else:
            words.append(word)
    return words


def _bracketed(value: str) -> str:
    return value if value.strip().startswith("[") or not value.strip() else f"[{value}]"


def number_list(value: str | float | list[float]) -> list[float]:
    """Numbers as `0.001,0.003`, `[0.001, 0.003]` or `0.001`; what is a number or a list already is kept.

    Raises:
        ArgumentTypeError: one of them is no number.

    Example:
        >>> number_list("[0.001, 0.003]")
        [0.001, 0.003]
    """
    if isinstance(value, list):
        return value
    if not isinstance(value, str):
        return [value]
    try:
        return [float(word) for word in name_list(value)]
    except ValueError as error:
        raise ArgumentTypeError(f"{value!r} is no list of numbers; write such as 0.001,0.003") from error
