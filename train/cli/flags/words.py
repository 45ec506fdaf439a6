"""Flags that are text: a list of names, or one, taken as it is written and not as YAML reads it."""

import re
from argparse import ArgumentTypeError

_QUOTED = re.compile(r"""\s*(?:"([^"]*)"|'([^']*)')\s*(,|\Z)""")
_PLAIN = re.compile(r"\s*([^,]*?)\s*(,|\Z)")


def name_list(text: str | list[str]) -> list[str]:
    """Returns the names of a list such as `[click, save]`, `click,save` or `click`.

    Numbers, dates, on, off, yes, no and null are names like others. A name that holds a comma or a bracket, or begins
    or ends with a blank, stands in quotes. A list is returned as it is: a parser asks a second time.

    Raises:
        ArgumentTypeError: a bracket, quote or name is missing.

    Example:
        >>> name_list("[1, on, 'a, b']")
        ['1', 'on', 'a, b']
    """
    if isinstance(text, list):
        return text
    inner = text.strip()
    if inner.startswith("[") != inner.endswith("]"):
        raise ArgumentTypeError(f"{text!r} is no list of names: a bracket is missing; write such as '[click, save]'")
    inner = inner.removeprefix("[").removesuffix("]").strip()
    names: list[str] = []
    place = 0
    while place < len(inner) or (names and inner.endswith(",") and place == len(inner)):
        found = _QUOTED.match(inner, place) or _PLAIN.match(inner, place)
        assert found is not None
        name = next(group for group in found.groups()[:-1] if group is not None)
        if not name or (found.re is _PLAIN and name[0] in "\"'[{"):
            raise ArgumentTypeError(
                f"{text!r} is no list of names near {inner[place:]!r}; write such as '[click, save]'"
            )
        names.append(name)
        place = found.end()
        if not found[found.lastindex or 1]:
            break
    return names
