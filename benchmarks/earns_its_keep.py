r"""Does the tower earn its keep on data that nobody tuned it for? `--config auto` with it and without, on many logs.

    ./run python -m benchmarks.earns_its_keep --data ../shared/data --out runs/earns --seeds 0 1 2 --write

Live counters of the candidate are in every row, so that the tower has to know more than what is popular now. Runs that
are finished are not made again, and the table is of all that ever ran.
"""

import argparse
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from benchmarks.parts.quality.kept import Results, kept_settings, write_kept
from benchmarks.parts.quality.rankers import Plan, Row, Trainer, add_flags, settings_of
from benchmarks.parts.quality.ranking_worlds import IN_FOLDERS, WORLDS
from benchmarks.parts.quality.runs import Runs
from pinfm.train.cli.run_flags import AUTO
from pinfm.train.comparison.report.markdown import mean_and_spread, table

SECTION = "earns its keep"
METRICS = ("auc", "ne", "request_auc", "hit3")
HEADINGS = {"auc": "AUC", "ne": "NE", "request_auc": "request AUC", "hit3": "HIT@3"}
YOUNG, YOUNG_AUC = "HIT@3, young", "AUC, young"
UNSEEN = "HIT@3, unseen"
OVER = "over no tower: AUC, HIT@3, both of young items"

PRETRAINED: dict[str, tuple[str, ...]] = {"auto": ()}
NO_TECHNIQUE = (
    *("--cold_start.candidate_id_randomization", "0"),
    *("--cold_start.dropout_young", "0", "--cold_start.dropout_middle", "0"),
    *("--cold_start.content_fusion", "false", "--cold_start.learnable_token", "false"),
)
TECHNIQUES = (
    *("--cold_start.candidate_id_randomization", "0.1"),
    *("--cold_start.dropout_young", "0.7", "--cold_start.dropout_middle", "0.5"),
)
ROWS = (
    Row(name="no_tower", told="no tower", pretrained=None, flags=("--use_tower", "false")),
    Row(name="fused", told="fused", pretrained="auto"),
    Row(name="fused_off", told="fused, cold-start techniques off", pretrained="auto", flags=NO_TECHNIQUE),
    Row(
        name="fused_on",
        told="fused, id randomisation and item-age dropout on",
        pretrained="auto",
        flags=TECHNIQUES,
    ),
)
BASELINE = "no_tower"


def main() -> None:
    """Runs what is missing of the worlds and rows asked for and prints the table of all that ever ran."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--worlds", nargs="+", choices=list(WORLDS), default=list(WORLDS), help="to run; default: all")
    parser.add_argument("--data", type=Path, help="holds ml-1m/ and movietweetings/")
    add_flags(parser, ROWS, Path("runs/earns"))
    args = parser.parse_args()
    in_folders = [name for name in args.worlds if name in IN_FOLDERS]
    if in_folders and args.data is None:
        parser.error(f"--worlds {' '.join(in_folders)} are read from --data, a folder with ml-1m/ and movietweetings/")
    results: Results = {}
    settings: dict[str, list[str]] = {}
    for name in args.worlds:
        world = WORLDS[name]
        plan = Plan(
            recipe=AUTO,
            pretrained=PRETRAINED,
            metrics=METRICS,
            by_age=True,
            finetune=world.finetune,
            seeds=args.seeds,
            split=args.split,
            jobs=args.jobs,
        )
        runs = Runs(args.out / name)
        trainer = Trainer(runs, world.prepare(args.data or Path(), runs.out / "dataset"), plan)
        trainer.train([row for row in ROWS if row.name in args.rows])
        for row, seeds in trainer.evaluated(ROWS).items():
            results[key(name, row)] = {seed: told_of(run[world.task]) for seed, run in seeds.items()}
        settings |= {key(name, row.name): settings_of(row, plan, PRETRAINED) for row in ROWS}
    kept = kept_settings(SECTION)
    names = [key(world, row.name) for world in WORLDS for row in ROWS]
    settings = {name: settings.get(name, kept.get(name, [])) for name in names}
    print(as_table(results))
    if args.write:

        def revision(row: str, seed: int) -> Any:
            world, name = row.split("/")
            return Runs(args.out / world).revision(name, seed)

        write_kept(SECTION, results, settings, revision, as_table, split=args.split)


def key(world: str, row: str) -> str:
    """What a row of a world is called in the report."""
    return f"{world}/{row}"


def told_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of one run: over all items, of young ones, and of those that training never showed."""
    by_age = metrics["by_age"]
    young = next(iter(by_age.values()), {})
    return {
        **{HEADINGS[name]: metrics[name] for name in METRICS},
        YOUNG: young.get("hit3"),
        YOUNG_AUC: young.get("auc"),
        UNSEEN: by_age.get("unseen", {}).get("hit3"),
    }


def as_table(results: Results) -> str:
    """A line a row of a world; mean and standard deviation over its seeds, and what the row has over no tower."""
    lines: list[Iterable[str]] = []
    for name, world in WORLDS.items():
        baseline = results.get(key(name, BASELINE), {})
        for row in ROWS:
            seeds = results.get(key(name, row.name), {})
            if not seeds:
                continue
            figures = [_cell(seeds, heading) for heading in (*HEADINGS.values(), YOUNG, YOUNG_AUC, UNSEEN)]
            over = "" if row.name == BASELINE else _over(seeds, baseline)
            lines.append([world.told, row.told, *figures, over, str(len(seeds))])
    return table(["data", "ranker", *HEADINGS.values(), YOUNG, YOUNG_AUC, UNSEEN, OVER, "seeds"], lines)


def _cell(seeds: Mapping[int, Mapping[str, Any]], heading: str) -> str:
    values = [run[heading] for run in seeds.values()]
    return "" if None in values else mean_and_spread(values)


def _over(seeds: Mapping[int, Mapping[str, Any]], baseline: Mapping[int, Mapping[str, Any]]) -> str:
    """The differences to the baseline under the same seeds, which share the order of the data."""
    parts = []
    for heading in (HEADINGS["auc"], HEADINGS["hit3"], YOUNG, YOUNG_AUC):
        pairs = [(run[heading], baseline[seed][heading]) for seed, run in seeds.items() if seed in baseline]
        gains = [ours - theirs for ours, theirs in pairs if ours is not None and theirs is not None]
        parts.append(mean_and_spread(gains, signed=True) or "-")
    return ", ".join(parts)


if __name__ == "__main__":
    main()
