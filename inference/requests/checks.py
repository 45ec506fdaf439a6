"""What every host must give, checked in one place: scripted into scoring.pt, and called on the tensors of a frame.

U  requests     T  events of all histories     N  candidates of all requests
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from pinfm.inference.requests.columns import LENGTHS, TIMES, Column

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

    # TorchScript reads the types of empty lists here, and only here.
    integers: list[str]
    floats: list[str]
    request_names: list[str]
    history_names: list[str]
    candidate_names: list[str]
    # Names with codes, and the largest of each.
    coded: list[tuple[str, int]]

    def __init__(self, columns: Sequence[Column], max_history: int, clock_start: int = 0) -> None:
        super().__init__()
        # TorchScript sees no constants of a module.
        self.end_of_time, self.future, self.max_history = END_OF_TIME, FUTURE, max_history
        self.first_date, self.last_date, self.refuses_dates = FIRST_DATE, LAST_DATE, clock_start > END_OF_1971
        self.integers = [*LENGTHS, *(column.name for column in columns if column.dtype == "int64")]
        self.floats = [column.name for column in columns if column.dtype == "float32"]
        self.request_names, self.history_names, self.candidate_names = (
            [column.name for column in columns if column.scope == scope]
            for scope in ("request", "history", "candidate")
        )
        self.coded = [(column.name, len(column.vocabulary)) for column in columns if column.vocabulary is not None]
        self.times = list(TIMES)
        self.content_dim = next((column.width for column in columns if column.width is not None), 0)

    def forward(self, inputs: dict[str, Tensor], first_row: int) -> str:
        """One sentence about the first problem, empty where there is none.

        Args:
            inputs: see `ScoringModule.forward`.
            first_row: number of the first request, where the batch is a piece of a file.
        """
        problem = self._types(inputs)
        if problem == "":
            problem = self._sizes(inputs, first_row)
        if problem == "":
            problem = self._values(inputs, first_row)
        if problem == "":
            problem = self._order(inputs, first_row)
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

    def _sizes(self, inputs: dict[str, Tensor], first_row: int) -> str:
        num_requests = inputs["user_id"].size(0)
        for name in ["history_lengths", "candidate_lengths"]:
            if inputs[name].size(0) != num_requests:
                return f"{name} has {inputs[name].size(0)} values for {num_requests} requests; give one each."
            if bool((inputs[name] < 0).any()):
                return f"row {first_row + _first(inputs[name] < 0)}: {name} holds a negative length; correct it."
        long_U = inputs["history_lengths"] > self.max_history
        if bool(long_U.any()):
            row = _first(long_U)
            return (
                f"row {first_row + row}: history_lengths holds {int(inputs['history_lengths'][row])}; the model reads "
                f"{self.max_history} events, so give the newest ones alone."
            )
        for name in self.request_names:
            if inputs[name].size(0) != num_requests:
                return f"{name} has {inputs[name].size(0)} values for {num_requests} requests; give one each."
        for names, lengths in (
            (self.history_names, "history_lengths"),
            (self.candidate_names, "candidate_lengths"),
        ):
            # Each by itself first: a sum of lengths beyond reason wraps around.
            long_U = inputs[lengths] > inputs[names[0]].size(0)
            if bool(long_U.any()):
                row = _first(long_U)
                return (
                    f"row {first_row + row}: {lengths} holds {int(inputs[lengths][row])}, but {names[0]} has "
                    f"{inputs[names[0]].size(0)} values; make them agree."
                )
            total = int(inputs[lengths].sum())
            for name in names:
                if inputs[name].size(0) != total:
                    return (
                        f"{name} has {inputs[name].size(0)} values, but {lengths} adds up to {total}; make them agree."
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

    def _order(self, inputs: dict[str, Tensor], first_row: int) -> str:
        """Training saw histories that ascend and end before their request."""
        time_T = inputs["history_timestamp"]
        owner_T = torch.repeat_interleave(inputs["history_lengths"])
        falls_T = torch.zeros_like(owner_T, dtype=torch.bool)
        falls_T[1:] = (time_T[1:] < time_T[:-1]) & (owner_T[1:] == owner_T[:-1])
        if bool(falls_T.any()):
            place = self._place(inputs, "history_timestamp", falls_T, first_row)
            return f"{place} is not in order of time; put the oldest event first."
        late_T = time_T >= inputs["request_timestamp"][owner_T]
        if bool(late_T.any()):
            place = self._place(inputs, "history_timestamp", late_T, first_row)
            return f"{place} holds an event that is not older than request_timestamp; leave it out."
        return ""

    def _place(self, inputs: dict[str, Tensor], name: str, bad: Tensor, first_row: int) -> str:
        """The request that the first bad value belongs to, and the input."""
        place = _first(bad)
        if name in self.history_names:
            place = int(torch.repeat_interleave(inputs["history_lengths"])[place])
        elif name in self.candidate_names:
            place = int(torch.repeat_interleave(inputs["candidate_lengths"])[place])
        return f"row {first_row + place}: {name}"


def _first(bad: Tensor) -> int:
    return int(bad.nonzero()[0, 0])
