"""Finds whole numbers, comparisons and masks that are made of floats which another device would round otherwise."""

import sys
from pathlib import Path

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves
from torch.utils.weak import WeakTensorKeyDictionary

ROOT = str(Path(__file__).parents[1])
# What these give is as exact as what they are given: they move, pick, cast, and change signs.
EXACT = {
    *("alias", "clone", "copy_", "_to_copy", "detach", "lift_fresh", "contiguous", "abs", "neg", "sign", "frexp"),
    *(
        "view",
        "_unsafe_view",
        "reshape",
        "expand",
        "permute",
        "transpose",
        "t",
        "unsqueeze",
        "squeeze",
        "slice",
        "select",
    ),
    *("split", "split_with_sizes", "unbind", "cat", "stack", "roll", "flatten", "repeat", "constant_pad_nd", "sort"),
    *(
        "index",
        "index_select",
        "index_copy",
        "index_put_",
        "gather",
        "embedding",
        "where",
        "masked_fill",
        "masked_fill_",
    ),
    *("abs", "clamp", "maximum", "minimum", "amax", "amin", "max", "min"),
}
# What these give depends on the shape of what they are given alone.
FRESH = {
    "zeros_like",
    "ones_like",
    "full_like",
    "empty_like",
    "rand_like",
    "new_zeros",
    "new_ones",
    "new_empty",
    "is_pinned",
}


class RoundedFloats(TorchDispatchMode):
    """Watches every operation; `found` has those that made whole numbers or masks of rounded floats: (name, file).

    Gradients are not looked at: at a corner, such as a bound of clamp, either side is right.
    """

    def __init__(self):
        super().__init__()
        self.found = set()
        self._rounded = WeakTensorKeyDictionary()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        name = func.overloadpacket.__name__
        given = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor) and x.is_floating_point()]
        if name in FRESH or not given or torch._C._current_autograd_node() is not None:
            return result
        rounded = any(x in self._rounded for x in given)
        for made in tree_leaves(result):
            if isinstance(made, torch.Tensor) and made.is_floating_point():
                if rounded or name not in EXACT:
                    self._rounded[made] = True
            elif rounded and isinstance(made, torch.Tensor | bool | int):
                self.found.add((name, calling_file()))
        return result


def calling_file():
    """The innermost file of the product that is at work."""
    frame = sys._getframe(1)
    while frame is not None:
        file = frame.f_code.co_filename
        if file.startswith(ROOT) and not file.startswith((f"{ROOT}/.", f"{ROOT}/tests/")):
            return file.removeprefix(f"{ROOT}/")
        frame = frame.f_back
    return ""
