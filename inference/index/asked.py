"""What a search may be asked beside the users' vectors, checked. Written for TorchScript."""

import torch
from torch import Tensor


def problem_of(asked: dict[str, Tensor], attributes: list[str], num_users: int, k: int) -> str:
    """One sentence about the first thing that is wrong, empty where nothing is.

    Args:
        asked: see `ExactIndex.forward`; names that begin with neither `exclude_` nor `filter_` are somebody else's.
        attributes: what may be filtered by.
        num_users: of the search.
        k: items wanted.
    """
    if k < 1:
        return f"k ({k}) must be at least 1."
    lists = [("exclude_item_id", "exclude_lengths")]
    for attribute in attributes:
        lists.append(("filter_" + attribute, "filter_" + attribute + "_lengths"))
    known: list[str] = []
    for values, lengths in lists:
        known.append(values)
        known.append(lengths)
        if values in asked or lengths in asked:
            problem = _list_problem(asked, values, lengths, num_users)
            if problem != "":
                return problem
    for name in asked:
        if (name.startswith("filter_") or name.startswith("exclude_")) and name not in known:
            return f"{name} is nothing that this index knows; it filters by: {', '.join(attributes)}."
    return ""


def _list_problem(asked: dict[str, Tensor], values: str, lengths: str, num_users: int) -> str:
    for name in [values, lengths]:
        if name not in asked:
            return f"{name} is missing; give {values} and {lengths} together."
        if asked[name].dtype != torch.int64 or asked[name].dim() != 1:
            return f"{name} must be int64 with one dimension."
    if asked[lengths].size(0) != num_users:
        return f"{lengths} has {asked[lengths].size(0)} values for {num_users} requests; give one each."
    size = asked[values].size(0)
    # Each by itself first: a sum of lengths beyond reason wraps around.
    if bool(((asked[lengths] < 0) | (asked[lengths] > size)).any()) or int(asked[lengths].sum()) != size:
        return f"{lengths} does not add up to the {size} values of {values}; make them agree."
    return ""
