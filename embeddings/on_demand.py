"""Names that a package imports when they are first asked for (PEP 562).

The command line reads settings out of packages that also offer torch modules by name, and torch takes seconds to
import.
"""

from collections.abc import Callable, Mapping
from importlib import import_module


def names_on_demand(package: str, homes: Mapping[str, str]) -> Callable[[str], object]:
    """A package's `__getattr__`.

    Args:
        package: its name.
        homes: name -> the module that it is imported from.

    Example:
        >>> names_on_demand("shop", {"OrderedDict": "collections"})("OrderedDict")
        <class 'collections.OrderedDict'>
    """

    def imported(name: str) -> object:
        if name not in homes:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        return getattr(import_module(homes[name]), name)

    return imported
