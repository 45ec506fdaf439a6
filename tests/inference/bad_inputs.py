"""Inputs that no host may score, each spoilt in one way, with the sentence that every host gives.

They are spoilt as tensors, as TorchScript and C++ take them; `frame_of` makes a frame of them for Python.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor

from pinfm.inference.requests.columns import Column

Inputs = dict[str, Tensor]


@dataclass(frozen=True)
class Bad:
    """One way to spoil inputs.

    Args:
        name: for the test's report.
        spoil: changes them in place.
        sentence: what every host says; a regular expression.
        tensors_only: a frame can't say it, or its conversion mends it (narrow integers become int64).
    """

    name: str
    spoil: Callable[[Inputs], Any]
    sentence: str
    tensors_only: bool = False


def put(name: str, place: int, value: float) -> Callable[[Inputs], None]:
    """Changes one value."""

    def spoil(inputs: Inputs) -> None:
        inputs[name] = inputs[name].clone()
        inputs[name][place] = value

    return spoil


def change(name: str, to: Callable[[Tensor], Tensor]) -> Callable[[Inputs], None]:
    """Changes a whole input."""
    return lambda inputs: inputs.update({name: to(inputs[name])})


def in_milliseconds(inputs: Inputs) -> None:
    """Every time of the requests."""
    for name in ("request_timestamp", "history_timestamp"):
        inputs[name] = inputs[name] * 1000


def as_dates(inputs: Inputs) -> None:
    """Every time of the requests as a number like 20260302."""
    inputs["request_timestamp"] = torch.full_like(inputs["request_timestamp"], 20260302)
    inputs["history_timestamp"] = torch.full_like(inputs["history_timestamp"], 20260301)


def swap_first_events(inputs: Inputs) -> None:
    """The first request has the newest event first."""
    times = inputs["history_timestamp"].clone()
    times[0] = times[1] + 1
    inputs["history_timestamp"] = times


def same_second(inputs: Inputs) -> None:
    """The newest event of the first request happens as it is made."""
    newest = int(inputs["history_lengths"][0]) - 1
    put("history_timestamp", newest, int(inputs["request_timestamp"][0]))(inputs)


def wrapping_lengths(inputs: Inputs) -> None:
    """No candidates at all, and lengths whose sum wraps around to nothing."""
    for name in ("candidate_item_id", "candidate_created_at", "candidate_content", "position", "topic"):
        inputs[name] = inputs[name][:0]
    inputs["candidate_lengths"] = torch.zeros_like(inputs["history_lengths"])
    inputs["candidate_lengths"][:4] = 2**62


FUTURE = r"which lies in the future; give Unix seconds \(divide milliseconds by 1000\)\."

# For the model of tests/runs.py: `position` is a dense feature of candidates, `hour` a categorical one of requests,
# content has 4 values, histories 8 events.
BAD_INPUTS = (
    Bad("NaN", put("position", 0, float("nan")), "row 0: position holds a value that is not finite"),
    Bad("infinity", put("position", 1, float("-inf")), "row 0: position holds a value that is not finite"),
    Bad(
        "beyond float32",
        lambda inputs: inputs.update(position=inputs["position"].double() * 1e300),
        "row 0: position holds a value that is not finite",
    ),
    Bad("NaN in content", put("candidate_content", -1, float("nan")), r"row \d+: candidate_content holds a value that"),
    Bad("milliseconds", in_milliseconds, rf"row 0: request_timestamp holds \d+000, {FUTURE}"),
    Bad("an event in ms", change("history_timestamp", lambda t: t * 1000), rf"row 0: history_timestamp .*, {FUTURE}"),
    Bad("an item in ms", put("candidate_created_at", 0, 1.7e12), rf"row 0: candidate_created_at holds \d+, {FUTURE}"),
    Bad(
        "before 1970", put("request_timestamp", 2, -5), "row 2: request_timestamp holds -5, before 1970; give Unix sec"
    ),
    Bad("dates", as_dates, r"row 0: request_timestamp holds 20260302, a date written as a number; give Unix seconds\."),
    Bad("an event's date", put("history_timestamp", 0, 20260301), "row 0: history_timestamp holds 20260301, a date wr"),
    Bad("out of order", swap_first_events, "row 0: history_timestamp is not in order of time; put the oldest event fi"),
    Bad("as the request", same_second, "row 0: history_timestamp holds an event that is not older than request_times"),
    Bad(
        "a code above", put("history_action", 0, 4), "row 0: history_action holds a code outside 0 to 3; see signature"
    ),
    Bad("a code below", put("history_surface", 0, -1), "row 0: history_surface holds a code outside 0 to 3; see sign"),
    Bad("an unknown surface", put("surface", 0, 4), "row 0: surface holds a code outside 0 to 3; see sign"),
    *(
        Bad(f"{name} of {dtype}", change(name, lambda t, d=dtype: t.to(d)), f"{name} must be int64", tensors_only=True)
        for name in ("user_id", "history_item_id", "candidate_item_id", "hour")
        for dtype in (torch.int32, torch.float64)
    ),
    Bad("integers for floats", change("position", Tensor.long), "position must be float32", tensors_only=True),
    Bad("an input less", lambda inputs: inputs.pop("hour"), "the (inputs|requests) lack.* '?hour'?"),
    Bad("one value for all", change("hour", lambda t: t[:1]), r"hour has 1 values for \d+ requests", tensors_only=True),
    Bad("one candidate's", change("position", lambda t: t[:1]), r"position has 1 values, but candi", tensors_only=True),
    Bad("a table", change("user_id", lambda t: t[:, None]), "user_id must have one dimension", tensors_only=True),
    Bad(
        "flat content", change("candidate_content", lambda t: t[:, 0]), "candidate_content has 1 dim", tensors_only=True
    ),
    Bad(
        "narrow content", change("candidate_content", lambda t: t[:, :2]), "candidate_content must .* vectors of 4 val"
    ),
    Bad(
        "lengths", put("history_lengths", 0, 1), "history_item_id has .* values, but history_lengths", tensors_only=True
    ),
    Bad("a length below 0", put("candidate_lengths", 1, -1), "row 1: candidate_lengths holds a neg", tensors_only=True),
    Bad(
        "lengths of few", change("candidate_lengths", lambda t: t[:2]), "candidate_lengths has 2 val", tensors_only=True
    ),
    Bad(
        "lengths that wrap",
        wrapping_lengths,
        r"row 0: candidate_lengths holds 4611686018427387904, but candidate_item_id has 0 values; make them agree\.",
        tensors_only=True,
    ),
    Bad("a long history", put("history_lengths", 0, 9), "row 0: history_lengths holds 9; the model", tensors_only=True),
)


def frame_of(inputs: Inputs, columns: Sequence[Column]) -> pd.DataFrame:
    """The inverse of `to_inputs`: codes stay codes."""
    frame = {}
    for column in columns:
        if column.name in inputs:
            values = inputs[column.name]
            if column.scope != "request":
                lengths = inputs[f"{column.scope}_lengths"].tolist()
                frame[column.name] = [list(part.numpy()) for part in values.split(lengths)]
            else:
                frame[column.name] = values.numpy()
    return pd.DataFrame(frame)
