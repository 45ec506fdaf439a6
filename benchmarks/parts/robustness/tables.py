"""The figures of a dataset as Markdown: mean and standard deviation over the seeds."""

from collections.abc import Callable, Mapping, Sequence

from benchmarks.parts.robustness.experiment import Attack
from benchmarks.parts.robustness.rows import (
    ADAPTED,
    ATTACKS,
    CLEAN,
    EVADING,
    HOT_FLIP,
    INJECTION,
    PGD,
    ROWS,
    SUBSTITUTION,
    SWEEPS,
    THRESHOLDS,
)
from pinfm.train.comparison.report.markdown import mean_and_spread, table

# Seed -> row -> attack -> figure -> value.
Seeds = Mapping[str, Mapping[str, Mapping[str, Mapping[str, float]]]]


def values(seeds: Seeds, row: str, attack: Attack, figure: str) -> list[float]:
    """A figure of every seed; empty where nobody measured it."""
    found = [seed.get(row, {}).get(attack.name, {}).get(figure) for seed in seeds.values()]
    return [value for value in found if value is not None]


def cell(seeds: Seeds, row: str, attack: Attack, figure: str) -> str:
    """`0.7491 ± 0.0008`."""
    return mean_and_spread(values(seeds, row, attack, figure))


def as_tables(seeds: Seeds) -> str:
    """All tables of a dataset."""
    parts = [
        ("AUC", _main(seeds, "auc", ATTACKS)),
        ("HIT@3, of requests with a positive and more than three candidates", _main(seeds, "hit3", ATTACKS)),
        ("Overlap of the top 10 of a list before and after", _main(seeds, "overlap", ATTACKS[1:])),
        ("RBO of a list before and after, p = 0.9", _main(seeds, "rbo", ATTACKS[1:])),
        ("Places that a promoted item gains in a list of 100", _main(seeds, "climb", _of_kind("promotion"))),
        ("Planted events and real ones by their trust", detection_table(seeds)),
        ("AUC against the attack's radius", sweep_table(seeds, "pgd")),
        ("AUC against the number of substituted events", sweep_table(seeds, "substitution")),
        ("AUC against the number of injected events", sweep_table(seeds, "injection")),
        ("Trust weights: AUC against the threshold", threshold_table(seeds)),
        ("AUC against the adaptation's radius and steps, all five losses", adaptation_table(seeds)),
        ("AUC under substitution by gradient of somebody who knows the trust weights", evading_table(seeds)),
        (f"AUC under {PGD.name} by an attacker who knows the defence", aware_table(seeds)),
    ]
    return "\n\n".join(f"**{heading}**\n\n{text}" for heading, text in parts if text)


def detection_table(seeds: Seeds) -> str:
    """How well planted events are told from real ones, and what is dropped of both."""
    figures = {
        "AUC, all events": "detection",
        "AUC, within a history": "detection_own",
        "planted events dropped": "found",
        "real events dropped": "dropped",
    }
    lines = []
    for attack in (CLEAN, SUBSTITUTION, HOT_FLIP, EVADING, INJECTION, *_of_kind("promotion")):
        cells = [cell(seeds, "trust", attack, figure) for figure in figures.values()]
        if any(cells):
            lines.append([attack.name, *cells])
    return table(["attack", *figures], lines) if lines else ""


def sweep_table(seeds: Seeds, kind: str) -> str:
    """AUC of the rows that are put to more or less of one attack."""
    attacks = [Attack(kind=kind, size=size) for size in SWEEPS[kind]]
    return _rows(
        seeds, "auc", attacks, [row.name for row in ROWS if kind in row.swept], lambda attack: f"{attack.size:g}"
    )


def adaptation_table(seeds: Seeds) -> str:
    """One line a radius and a number of steps."""
    lines = []
    for (radius, steps), row in ADAPTED.items():
        cells = [cell(seeds, row.name, attack, "auc") for attack in row.attacks()]
        if any(cells):
            lines.append([f"{radius:g}", str(steps), *cells])
    return table(["radius", "steps", CLEAN.name, PGD.name], lines) if lines else ""


def threshold_table(seeds: Seeds) -> str:
    """One line a threshold: AUC, and the shares of real and of planted events that are dropped."""
    attacks = THRESHOLDS[min(THRESHOLDS)].attacks()
    lines = []
    for threshold, row in THRESHOLDS.items():
        cells = [cell(seeds, row.name, attack, "auc") for attack in attacks]
        cells += [cell(seeds, row.name, CLEAN, "dropped"), cell(seeds, row.name, INJECTION, "found")]
        if any(cells):
            lines.append([f"{threshold:g}", *cells])
    heading = ["threshold", *(attack.name for attack in attacks), "clean events dropped", "injected events dropped"]
    return table(heading, lines) if lines else ""


def evading_table(seeds: Seeds) -> str:
    """Items that are seen through, and items that are not."""
    evaded = [row.name for row in ROWS if EVADING in row.put_to and values(seeds, row.name, EVADING, "auc")]
    told = {CLEAN: "no attack", HOT_FLIP: "does not know", EVADING: "knows"}
    return _rows(seeds, "auc", list(told), evaded, lambda attack: told[attack])


def aware_table(seeds: Seeds) -> str:
    """The attack that sees through the adaptation beside the one that does not, on the same requests."""
    columns = {"no attack": "aware_clean", "does not know": "aware_blind", "knows": "aware_knows"}
    lines = []
    for row in ROWS:
        cells = [cell(seeds, row.name, PGD, figure) for figure in columns.values()]
        if any(cells):
            lines.append([row.told, *cells])
    return table(["defence", *columns], lines) if lines else ""


def _main(seeds: Seeds, figure: str, attacks: Sequence[Attack]) -> str:
    return _rows(seeds, figure, attacks, [row.name for row in ROWS], lambda attack: attack.name)


def _rows(
    seeds: Seeds, figure: str, attacks: Sequence[Attack], names: Sequence[str], heading: Callable[[Attack], str]
) -> str:
    told = {row.name: row.told for row in ROWS}
    lines = []
    for name in names:
        cells = [cell(seeds, name, attack, figure) for attack in attacks]
        if any(cells):
            lines.append([told[name], *cells])
    return table(["defence", *map(heading, attacks)], lines) if lines else ""


def _of_kind(kind: str) -> list[Attack]:
    return [attack for attack in ATTACKS if attack.kind == kind]
