r"""Are our interactions as good as FuxiCTR's? Its models and trainer, with its interaction and with ours in its place.

    git clone https://github.com/reczoo/FuxiCTR runs/fuxictr/FuxiCTR
    uv pip install --no-deps --target runs/fuxictr/needs polars==2.1.0 polars-runtime-32==2.1.0 h5py==3.16.0 \
        keras_preprocessing==1.1.2 six==1.17.0
    PYTHONPATH=runs/fuxictr/needs ./run python -m benchmarks.fuxictr --fuxictr runs/fuxictr/FuxiCTR --write

FuxiCTR is read from a clone of its repository, for its wheel lacks most of the models; beside this project's own
environment it needs what the second command brings. Both sides read the same Parquet, written from the shipped sample
of KuaiRand: a row is an impression, a column a categorical feature. Its columns are numbered here, for FuxiCTR numbers
integers by value and makes ids of missing ones; its own splits are off; there are no sequences, which it would cut.

A row of the table is a model of its zoo, unchanged, against a copy in which our form stands for the interaction.
Tables, MLP, loss, Adam, order of rows and epochs are the same, and all else starts from the same weights.
Where both compute the same function, their weights become ours, and the outputs and the gradients at the tables are
compared, on random weights and vectors of order 1. Each side also scores one row alone and trains on it.
"""

import argparse
import json
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from torch import nn
from tqdm import tqdm

from benchmarks.parts.pages import write_report, write_results
from benchmarks.parts.peers.flat import write_flat
from benchmarks.parts.peers.fuxi import Budget, FuxiCTR
from benchmarks.parts.peers.pairs import PAIRS
from benchmarks.parts.peers.swap import Pair, largest_differences, one_row, swapped, with_their_weights
from benchmarks.parts.quality.runs import prepared
from pinfm.model.ranking.interactions.parts.fields import FieldShape
from pinfm.train.comparison.report.markdown import mean_and_spread, table
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.kuairand import KuaiRand

PAGE = Path("docs/results/interactions.md")
SECTION = "fuxictr"
TASK = "click"
# Columns of fewer values say little beside the ids and make the widest interactions slow.
MIN_VALUES = 15
# One function from one start gives one figure, but for the order of sums.
SAME_START_SEEDS = 2
ONE_ROW = {"theirs": "FuxiCTR's", "ours": "ours"}
HEADING = (
    *("form", "FuxiCTR's model", "its AUC", "ours, from its start", "ours, from our start"),
    *("largest difference: output, gradient", "fails with one row", "where they differ"),
)


def main() -> None:
    """Trains what is missing, prints the table of all that ever ran, and writes it where asked to."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--fuxictr", type=Path, required=True, help="a clone of github.com/reczoo/FuxiCTR")
    parser.add_argument("--out", type=Path, default=Path("runs/fuxictr"), help="datasets, and the figures so far")
    parser.add_argument("--rows", nargs="+", default=list(PAIRS), choices=list(PAIRS), metavar="ROW")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2, 3, 4])
    parser.add_argument("--write", action="store_true", help=f"write the section of {PAGE} and its JSON file")
    args = parser.parse_args()
    torch.set_num_threads(1)
    dataset = PreparedDataset.open(prepared(KuaiRand(), args.out / "dataset"))
    flat = write_flat(dataset, args.out / "flat", TASK, MIN_VALUES)
    against = Against(FuxiCTR(args.fuxictr.resolve(), flat, Budget()), args.out / "scratch")
    report = args.out / "report.json"
    values = {"fuxictr": against.peer.revision(), "columns": against.peer.names, "budget": asdict(against.peer.budget)}
    values["rows"] = rows_so_far(report, values)
    for name in args.rows:
        row = values["rows"].setdefault(name, {"pair": described(PAIRS[name]), "seeds": {}})
        row["checks"] = against.checks(PAIRS[name])
    todo = [(seed, name) for seed in args.seeds for name in args.rows]
    for seed, name in tqdm(todo, disable=None):
        figures = values["rows"][name]["seeds"].setdefault(str(seed), {})
        for side, model in against.models(PAIRS[name], seed).items():
            if side not in figures and (side != "same_start" or seed in args.seeds[:SAME_START_SEEDS]):
                figures[side] = against.trained(model, seed)
                write_report(report, values)
    print(as_table(values))
    if args.write:
        write_results(PAGE, SECTION, as_table(values), values)


class Against:
    """Pairs of a model of FuxiCTR and its copy with our form.

    Args:
        peer: FuxiCTR and the data.
        scratch: where its trainer keeps weights.
    """

    def __init__(self, peer: FuxiCTR, scratch: Path) -> None:
        self.peer, self.scratch = peer, scratch
        self.shape = FieldShape(0, peer.feature_map.num_fields, peer.budget.embedding_dim)

    def models(self, pair: Pair, seed: int) -> dict[str, nn.Module]:
        """All sides, freshly initialised."""
        torch.manual_seed(seed)
        theirs = self.peer.model(pair.model, pair.settings, self.scratch)
        models = {"theirs": theirs, "ours": swapped(theirs, pair, self.shape)}
        if pair.weights is not None:
            models["same_start"] = with_their_weights(theirs, pair, self.shape)
        return models

    def trained(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Test AUC and log loss of a model, and the seconds that it took."""
        begin = time.perf_counter()
        found = self.peer.tested(model, seed)
        return {**found, "seconds": round(time.perf_counter() - begin, 1)}

    def checks(self, pair: Pair) -> dict[str, Any]:
        """What is compared without training: one row, and outputs where both sides compute the same function."""
        batch = next(iter(self.peer.rows("test")))
        models = self.models(pair, seed=0)
        checks: dict[str, Any] = {side: one_row(models[side], batch) for side in ("theirs", "ours")}
        if pair.weights is not None:
            checks |= largest_differences(self.models(pair, seed=0)["theirs"], pair, batch, self.shape)
        return checks


def described(pair: Pair) -> dict[str, Any]:
    """What a row's figures were made by."""
    return {"model": pair.model, "settings": dict(pair.settings), "ours": pair.ours}


def rows_so_far(report: Path, made_by: dict[str, Any]) -> dict[str, Any]:
    """The rows of a report that today's pairs, code of FuxiCTR, data and budget would make again."""
    before = json.loads(report.read_text()) if report.exists() else {"rows": {}}
    made_by = json.loads(json.dumps(made_by))
    if any(before.get(key) != value for key, value in made_by.items()):
        return {}
    today = {name: json.loads(json.dumps(described(pair))) for name, pair in PAIRS.items()}
    return {name: row for name, row in before["rows"].items() if row["pair"] == today.get(name)}


def as_table(values: dict[str, Any]) -> str:
    """One line a form: means and standard deviations over the seeds."""
    lines = []
    for name in filter(values["rows"].__contains__, PAIRS):
        row = values["rows"][name]
        checks, model = row["checks"], row["pair"]["model"].split(".")[1]
        cells = [mean_and_spread([seed["theirs"]["AUC"] for seed in row["seeds"].values() if "theirs" in seed])]
        cells += [signed(gains(row, side)) for side in ("same_start", "ours")]
        cells.append(f"{checks['output']:.0e}, {checks['gradient']:.0e}" if "output" in checks else "")
        failing = [f"{told}: {checks[side]}" for side, told in ONE_ROW.items() if checks[side] != "nothing"]
        lines.append([f"`{name}`", model, *cells, ", ".join(failing), PAIRS[name].told])
    return table(HEADING, lines)


def gains(row: dict[str, Any], side: str) -> list[float]:
    """Test AUC above that of FuxiCTR's own, seed by seed."""
    return [
        seed[side]["AUC"] - seed["theirs"]["AUC"] for seed in row["seeds"].values() if side in seed and "theirs" in seed
    ]


def signed(values: list[float]) -> str:
    """Mean with its sign, and standard deviation; nothing of no values."""
    told = mean_and_spread(values).replace("-0.0000", "0.0000")
    return told if not told or told.startswith("-") else f"+{told}"


if __name__ == "__main__":
    main()
