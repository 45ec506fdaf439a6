"""The one exception that every layer raises for a mistake of the user's, and checks of settings that raise it."""

import math
from collections.abc import Collection
from dataclasses import fields
from types import NoneType, UnionType
from typing import Any, Literal, Union, get_args, get_origin

# No tensor, file or clock counts further.
MOST_WHOLE = (1 << 63) - 1

# What values of these types are called in a sentence.
_WANTED = {bool: "true or false", int: "a whole number", float: "a finite number", str: "text"}


class UserError(ValueError):
    """A bad value, file or flag: one sentence that says what is wrong and what to do.

    The command line prints the sentence and exits with status 2; anything else that is raised is a bug of ours and
    keeps its traceback.
    """


def require_choice(name: str, value: Any, choices: Any) -> None:
    """Refuses an unknown name, which would be taken for some other one.

    Args:
        name: of the setting.
        value: of it.
        choices: the `Literal` that lists what there is.

    Raises:
        UserError: names the choices.
    """
    if value not in get_args(choices):
        raise UserError(f"{name} ({value!r}) must be one of {', '.join(map(str, get_args(choices)))}.")


def require_types(owner: str, settings: Any, infinite: Collection[str] = ()) -> None:
    """Refuses values that the types of a dataclass's fields rule out; for its `__post_init__`.

    Flags are checked as they are parsed, but a config may also be built in Python or come from a file, where nobody
    checks, and an unknown name would be taken for the default.

    Args:
        owner: what the fields belong to, such as `tower`; empty for the run itself.
        settings: the dataclass. Looked at are fields that are a `Literal`, a bool, an int, a float or a str, or one of
            these or None, or a tuple of any number of them.
        infinite: real fields that may be infinite, which is their way to say "without a bound".

    Raises:
        UserError: an unknown name, a number that is none, NaN or infinite, or a truth value that is something else.
    """
    for field in fields(settings):
        name, value = f"{owner}{'.' * bool(owner)}{field.name}", getattr(settings, field.name)
        kind: Any = field.type
        if get_origin(kind) in (Union, UnionType):  # the first is what `Literal | None` makes
            if value is None and NoneType in get_args(kind):
                continue
            kind, *others = [of for of in get_args(kind) if of is not NoneType]
            if others:
                continue
        if get_origin(kind) is tuple and get_args(kind)[1:] == (...,):
            (kind, _), values = get_args(kind), value
            if kind in _WANTED and not (isinstance(values, tuple) and all(_is(kind, one, False) for one in values)):
                raise UserError(f"{name} ({value!r}) must be a list, of which each is {_WANTED[kind]}.")
        elif get_origin(kind) is Literal:
            require_choice(name, value, kind)
        elif kind in _WANTED and not _is(kind, value, field.name in infinite):
            raise UserError(f"{name} ({value!r}) must be {_WANTED[kind]}.")
        elif kind is int and not -MOST_WHOLE <= value <= MOST_WHOLE:
            raise UserError(f"{name} ({value}) must lie within 64 bits.")


def _is(kind: type, value: Any, may_be_infinite: bool) -> bool:
    """Whether a value is of one of these types; to Python a truth value is a whole number too."""
    if isinstance(value, bool) or kind is bool:
        return isinstance(value, bool) and kind is bool
    if kind in (int, str):
        return isinstance(value, kind)
    return isinstance(value, (int, float)) and not math.isnan(value) and (may_be_infinite or math.isfinite(value))


def require_at_least(owner: str, least: float, **values: float) -> None:
    """Refuses settings below a bound.

    Args:
        owner: what the names belong to, such as `pretrain`; empty for the run itself.
        least: the bound.
        values: the settings by name.

    Raises:
        UserError: one of them is smaller, or no number.
    """
    for name, value in values.items():
        if not value >= least:
            raise UserError(f"{owner}{'.' * bool(owner)}{name} ({value}) must be at least {least}.")


def require_at_most(owner: str, most: float, **values: float) -> None:
    """Refuses settings above a bound; see `require_at_least`."""
    for name, value in values.items():
        if not value <= most:
            raise UserError(f"{owner}{'.' * bool(owner)}{name} ({value}) must be at most {most}.")


def require_positive(owner: str, **values: float) -> None:
    """Refuses settings that are not above zero; see `require_at_least`."""
    for name, value in values.items():
        if not value > 0:
            raise UserError(f"{owner}{'.' * bool(owner)}{name} ({value}) must be above 0.")
