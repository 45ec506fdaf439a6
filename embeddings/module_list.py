"""The one place where the modules of a list get back the type that `nn.ModuleList` forgets."""

from collections.abc import Iterable, Sequence
from typing import TypeVar, cast

from torch import nn

Part = TypeVar("Part", bound=nn.Module)


def module_list(modules: Iterable[Part]) -> Sequence[Part]:
    """`nn.ModuleList(modules)`, for an attribute of a module: methods of its parts can be called and are checked.

    Args:
        modules: of one type.

    Returns:
        The ModuleList; a type checker is shown the sequence that it behaves as.
    """
    return cast("Sequence[Part]", nn.ModuleList(modules))
