"""Nested settings by one name each, to compare them one by one."""

from typing import Any


def flat(values: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names.

    Args:
        values: of any depth.
        prefix: of every name.

    Example:
        >>> flat({"tower": {"dim": 8}, "seed": 0})
        {'tower.dim': 8, 'seed': 0}
    """
    found: dict[str, Any] = {}
    for key, value in values.items():
        found |= flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return found
