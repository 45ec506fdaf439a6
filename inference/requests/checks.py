"""What every host must give, checked in one place: scripted into scoring.pt, and called on the tensors of a frame.

Histories are encoded once and asked again and again, so they are checked by themselves; what is asked of them, as it
is asked.

U  requests     T  events of all histories     N  candidates of all requests
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pinfm.inference.requests.columns import TIMES, Column, Scope
from pinfm.model.written import MOST

# Seconds up to the year 2286; later ones are a finer unit (milliseconds pass it in April 1970). A clock of the host's
# own would refuse requests for tomorrow, and TorchScript has none.
END_OF_TIME = 10_000_000_000
# A number like 20260302 is a date of the log's readers; as seconds all such lie in 1970 (docs/operations.md).
FIRST_DATE, LAST_DATE = 19_000_101, 21_001_231
END_OF_1971 = 2 * 365 * 86_400
FUTURE = "which lies in the future; give Unix seconds (divide milliseconds by 1000)."


class InputChecks(nn.Module):
    """Finds the first thing that is wrong with a module's inputs.

    Args:
        columns: the inputs.
        max_history: events of a history that the model was trained to read.
        clock_start: Unix seconds of the first time that the model was trained on; 0 where nobody knows. Only a clock
            that began before 1972 may show numbers which look like dates.
    """

    def __init__(self, columns: Sequence[Column], max_history: int, clock_start: int = 0) -> None:
        super().__init__()
        self.max_history = max_history
        self.requests = ScopeChecks("request", columns, clock_start)
        self.histories = ScopeChecks("history", columns, clock_start, max_history)
        self.candidates = ScopeChecks("candidate", columns, clock_start)
        times = [column for column in columns if column.name == "request_timestamp"]
        self.request_times = ScopeChecks("request", times, clock_start)

    def forward(self, inputs: dict[str, Tensor], first_row: int) -> str:
        """One sentence about the first problem, empty where there is none.

        Args:
            inputs: see `ScoringModule.forward`.
            first_row: number of the first request, where the batch is a piece of a file.
        """
        num_requests = _count(inputs, "request_timestamp")
        problem: str = self.requests(inputs, num_requests, first_row)
        if problem == "":
            problem = self._histories(inputs, num_requests, first_row)
        if problem == "":
            problem = self.candidates(inputs, num_requests, first_row)
        if problem == "":
            problem = _after(inputs["history_lengths"], inputs["history_timestamp"], inputs, first_row)
        return problem

    @torch.jit.export
    def to_encode(self, inputs: dict[str, Tensor], first_row: int = 0) -> str:
        """As `forward`, of histories alone."""
        return self._histories(inputs, _count(inputs, "history_lengths"), first_row)

    @torch.jit.export
    def to_score(self, inputs: dict[str, Tensor], lengths_U: Tensor, timestamp_T: Tensor) -> str:
        """As `forward`, of what is scored against histories that were checked before.

        Args:
            inputs: of requests and candidates.
            lengths_U: events of each history.
            timestamp_T: of these events.
        """
        problem = _as_many(inputs, "user_id", lengths_U)
        if problem == "":
            problem = self.requests(inputs, lengths_U.size(0), 0)
        if problem == "":
            problem = self.candidates(inputs, lengths_U.size(0), 0)
        if problem == "":
            problem = _after(lengths_U, timestamp_T, inputs, 0)
        return problem

    @torch.jit.export
    def to_retrieve(self, inputs: dict[str, Tensor], lengths_U: Tensor, timestamp_T: Tensor, first_row: int = 0) -> str:
        """As `to_score`, where no input is read but the time of each request."""
        problem = _as_many(inputs, "request_timestamp", lengths_U)
        if problem == "":
            problem = self.request_times(inputs, lengths_U.size(0), first_row)
        if problem == "":
            problem = _after(lengths_U, timestamp_T, inputs, first_row)
        return problem

    def _histories(self, inputs: dict[str, Tensor], num_requests: int, first_row: int) -> str:
        """Training saw histories that ascend."""
        problem: str = self.histories(inputs, num_requests, first_row)
        if problem != "":
            return problem
        time_T = inputs["history_timestamp"]
        owner_T = torch.repeat_interleave(inputs["history_lengths"])
        falls_T = torch.zeros_like(owner_T, dtype=torch.bool)
        falls_T[1:] = (time_T[1:] < time_T[:-1]) & (owner_T[1:] == owner_T[:-1])
        if bool(falls_T.any()):
            row = first_row + int(owner_T[_first(falls_T)])
            return f"row {row}: history_timestamp is not in order of time; put the oldest event first."
        return ""


class ScopeChecks(nn.Module):
    """Finds the first thing that is wrong with the inputs of a scope.

    Args:
        scope: which inputs.
        columns: the inputs, of all scopes.
        clock_start: see `InputChecks`.
        longest: values that a list may have.
    """

    # TorchScript reads the types of empty lists here, and only here.
    integers: list[str]
    floats: list[str]
    names: list[str]
    times: list[str]
    # Names with codes, and the largest of each.
    coded: list[tuple[str, int]]

    def __init__(self, scope: Scope, columns: Sequence[Column], clock_start: int, longest: int = MOST) -> None:
        super().__init__()
        # TorchScript sees no constants of a module.
        self.end_of_time, self.future = END_OF_TIME, FUTURE
        self.first_date, self.last_date, self.refuses_dates = FIRST_DATE, LAST_DATE, clock_start > END_OF_1971
        self.longest = longest
        own = [column for column in columns if column.scope == scope]
        # Of lists; a request has one value.
        self.lengths = "" if scope == "request" else f"{scope}_lengths"
        self.names = [column.name for column in own]
        self.integers = [column.name for column in own if column.dtype == "int64"]
        if self.lengths != "":
            self.integers.insert(0, self.lengths)
        self.floats = [column.name for column in own if column.dtype == "float32"]
        self.times = [name for name in TIMES if name in self.names]
        self.coded = [(column.name, len(column.vocabulary)) for column in own if column.vocabulary is not None]
        self.content_dim = next((column.width for column in own if column.width is not None), 0)

    def forward(self, inputs: dict[str, Tensor], num_requests: int, first_row: int) -> str:
        """One sentence about the first problem, empty where there is none.

        Args:
            inputs: see `ScoringModule.forward`.
            num_requests: U.
            first_row: number of the first request, where the batch is a piece of a file.
        """
        problem = self._types(inputs)
        if problem == "":
            problem = self._sizes(inputs, num_requests, first_row)
        if problem == "":
            problem = self._values(inputs, first_row)
        return problem

    def _types(self, inputs: dict[str, Tensor]) -> str:
        for name in self.integers:
            if name not in inputs:
                return f"the inputs lack {name}; see signature.json."
            if inputs[name].dtype != torch.int64:
                return f"{name} must be int64; a narrower type makes other ids of the same bits."
            if inputs[name].dim() != 1:
                return f"{name} must have one dimension, its values one after the other; see signature.json."
        for name in self.floats:
            if name not in inputs:
                return f"the inputs lack {name}; see signature.json."
            if not inputs[name].is_floating_point():
                return f"{name} must be float32; see signature.json."
            if inputs[name].dim() != (2 if name == "candidate_content" else 1):
                return f"{name} has {inputs[name].dim()} dimensions, which does not fit signature.json."
        return ""

    def _sizes(self, inputs: dict[str, Tensor], num_requests: int, first_row: int) -> str:
        each = self.names if self.lengths == "" else [self.lengths]
        for name in each:
            if inputs[name].size(0) != num_requests:
                return f"{name} has {inputs[name].size(0)} values for {num_requests} requests; give one each."
        if self.lengths == "":
            return ""
        lengths_U = inputs[self.lengths]
        if bool((lengths_U < 0).any()):
            return f"row {first_row + _first(lengths_U < 0)}: {self.lengths} holds a negative length; correct it."
        long_U = lengths_U > self.longest
        if bool(long_U.any()):
            row = _first(long_U)
            return (
                f"row {first_row + row}: {self.lengths} holds {int(lengths_U[row])}; the model reads {self.longest} "
                "events, so give the newest ones alone."
            )
        # Each by itself first: a sum of lengths beyond reason wraps around.
        long_U = lengths_U > inputs[self.names[0]].size(0)
        if bool(long_U.any()):
            row = _first(long_U)
            return (
                f"row {first_row + row}: {self.lengths} holds {int(lengths_U[row])}, but {self.names[0]} has "
                f"{inputs[self.names[0]].size(0)} values; make them agree."
            )
        total = int(lengths_U.sum())
        for name in self.names:
            if inputs[name].size(0) != total:
                return (
                    f"{name} has {inputs[name].size(0)} values, but {self.lengths} adds up to {total}; make them agree."
                )
        if self.content_dim > 0 and inputs["candidate_content"].size(1) != self.content_dim:
            return f"candidate_content must have vectors of {self.content_dim} values; see signature.json."
        return ""

    def _values(self, inputs: dict[str, Tensor], first_row: int) -> str:
        for name in self.times:
            late = inputs[name] >= self.end_of_time
            if bool(late.any()):
                value = int(inputs[name][_first(late)])
                return f"{self._place(inputs, name, late, first_row)} holds {value}, {self.future}"
            if name != "candidate_created_at":  # an item may be older than 1970
                early = inputs[name] < 0
                if bool(early.any()):
                    value = int(inputs[name][_first(early)])
                    return (
                        f"{self._place(inputs, name, early, first_row)} holds {value}, before 1970; give Unix seconds."
                    )
                dates = (inputs[name] >= self.first_date) & (inputs[name] <= self.last_date)
                if self.refuses_dates and bool(dates.any()):
                    value = int(inputs[name][_first(dates)])
                    place = self._place(inputs, name, dates, first_row)
                    return f"{place} holds {value}, a date written as a number; give Unix seconds."
        for name, largest in self.coded:
            outside = (inputs[name] < 0) | (inputs[name] > largest)
            if bool(outside.any()):
                place = self._place(inputs, name, outside, first_row)
                return f"{place} holds a code outside 0 to {largest}; see signature.json."
        for name in self.floats:
            bad = ~torch.isfinite(inputs[name].float())
            if bool(bad.any()):
                if bad.dim() == 2:
                    bad = bad.any(dim=1)
                place = self._place(inputs, name, bad, first_row)
                return f"{place} holds a value that is not finite (as float32); correct it."
        return ""

    def _place(self, inputs: dict[str, Tensor], name: str, bad: Tensor, first_row: int) -> str:
        """The request that the first bad value belongs to, and the input."""
        row = _first(bad)
        if self.lengths != "":
            row = int(torch.repeat_interleave(inputs[self.lengths])[row])
        return f"row {first_row + row}: {name}"


def _as_many(inputs: dict[str, Tensor], name: str, lengths_U: Tensor) -> str:
    """Whether the requests can be those whose histories were encoded."""
    if name in inputs and inputs[name].numel() != lengths_U.size(0):
        return (
            f"{name} has {inputs[name].numel()} values, but {lengths_U.size(0)} histories were encoded; give the "
            "requests of these histories, in their order."
        )
    return ""


def _after(lengths_U: Tensor, timestamp_T: Tensor, inputs: dict[str, Tensor], first_row: int) -> str:
    """Training saw histories that end before their request."""
    owner_T = torch.repeat_interleave(lengths_U)
    late_T = timestamp_T >= inputs["request_timestamp"][owner_T]
    if bool(late_T.any()):
        row = first_row + int(owner_T[_first(late_T)])
        return f"row {row}: history_timestamp holds an event that is not older than request_timestamp; leave it out."
    return ""


def _count(inputs: dict[str, Tensor], name: str) -> int:
    """Values of an input; what is missing is named where it is looked for."""
    return inputs[name].numel() if name in inputs else 0


def _first(bad: Tensor) -> int:
    """The row of the first True."""
    return int(bad.nonzero()[0, 0])
