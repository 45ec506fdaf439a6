"""Figures of a comparison made into rows of a table: means, marks and the Pareto set."""

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pinfm.embeddings.errors import UserError, require_positive, require_types
from pinfm.train.comparison.report.statistics import Difference, paired_difference, rank_stability

# Averaged over the tasks in the table; every task's own are in the JSON file.
METRICS = ("auc", "ne", "hit3", "hit3_hard", "request_auc")

Compared = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What a form may cost.

    Args:
        memory_gib: peak of training above the floor.
        latency_ms: p50 of a request.
    """

    memory_gib: float = 2.0
    latency_ms: float = 20.0

    def __post_init__(self) -> None:
        require_types("", self)
        require_positive("", memory_gib=self.memory_gib, latency_ms=self.latency_ms)


@dataclass(frozen=True, kw_only=True)
class Row:
    """One form.

    Args:
        form: its name.
        learning_rate: that the validation split chose.
        seeds: metric -> one value a seed, the mean over the tasks; empty where no task has the metric.
        auc_of_task: task -> AUC, one value a seed.
        parameters: weights of everything but the tables.
        interaction_parameters: of the interaction alone.
        memory_mib: peak of training above the floor.
        candidates_per_s: that training takes.
        p50_ms: of a request.
        p99_ms: of a request.
        difference: in AUC to the baseline; None for the baseline itself.
        fits: whether it is within the budget.
        pareto: whether none that fits is at least as good in AUC, latency and memory, and better in one.
    """

    form: str
    learning_rate: float
    seeds: dict[str, list[float]]
    auc_of_task: dict[str, list[float]]
    parameters: int
    interaction_parameters: int
    memory_mib: float
    candidates_per_s: float
    p50_ms: float
    p99_ms: float
    difference: Difference | None
    fits: bool
    pareto: bool = False

    @property
    def auc(self) -> float:
        """Mean over tasks and seeds."""
        return statistics.mean(self.seeds["auc"])

    def costs(self) -> tuple[float, float, float]:
        """What is to be small: AUC lost, latency, memory."""
        return (-self.auc, self.p50_ms, self.memory_mib)


def make_rows(compared: Compared, budget: Budget, baseline: str) -> list[Row]:
    """A row a form, in the order of the comparison.

    Args:
        compared: what `compare` returns.
        budget: what a form may cost.
        baseline: the form that the others are compared with, seed by seed.

    Raises:
        UserError: no form is called so.
    """
    forms: Mapping[str, Any] = compared["forms"]
    if baseline not in forms:
        raise UserError(f"the baseline {baseline} is none of the forms; take one of {', '.join(forms)}.")
    base = per_seed(forms[baseline], "auc")
    rows = [
        _row(name, of, None if name == baseline else paired_difference(per_seed(of, "auc"), base), budget)
        for name, of in forms.items()
    ]
    return mark_pareto(rows)


def mark_pareto(rows: Sequence[Row]) -> list[Row]:
    """The rows with those marked that no other row beats, among those that fit."""
    fitting = [row for row in rows if row.fits]
    return [
        Row(**{**vars(row), "pareto": row.fits and not any(_beats(other, row) for other in fitting)}) for row in rows
    ]


def per_seed(form: Mapping[str, Any], metric: str, task: str | None = None) -> list[float]:
    """A metric of the test split, one value a seed; empty where no task has it.

    Args:
        form: its figures.
        metric: its name.
        task: the one to take; None for the mean over those that have the metric.
    """
    values = []
    for figures in form["seeds"].values():
        tasks = figures["test"] if task is None else {task: figures["test"][task]}
        found = [of[metric] for of in tasks.values() if of[metric] is not None]
        if found:
            values.append(statistics.mean(found))
    return values


def stability(rows: Sequence[Row]) -> float | None:
    """Kendall's tau between the orders that two seeds give, the mean over all pairs of seeds."""
    return rank_stability(list(zip(*(row.seeds["auc"] for row in rows), strict=True)))


def _beats(one: Row, other: Row) -> bool:
    pairs = list(zip(one.costs(), other.costs(), strict=True))
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _row(name: str, of: Mapping[str, Any], difference: Difference | None, budget: Budget) -> Row:
    runs = list(of["seeds"].values())
    memory, p50 = of["memory_mib"], of["latency"]["p50_ms"]
    tasks = runs[0]["test"]
    return Row(
        form=name,
        learning_rate=of["learning_rate"],
        seeds={metric: per_seed(of, metric) for metric in METRICS},
        auc_of_task={
            task: [run["test"][task]["auc"] for run in runs] for task in tasks if tasks[task]["auc"] is not None
        },
        parameters=runs[0]["parameters"]["dense"],
        interaction_parameters=runs[0]["parameters"]["interaction"],
        memory_mib=memory,
        candidates_per_s=statistics.median(run["candidates_per_s"] for run in runs),
        p50_ms=p50,
        p99_ms=of["latency"]["p99_ms"],
        difference=difference,
        fits=memory <= budget.memory_gib * 1024 and p50 <= budget.latency_ms,
    )
