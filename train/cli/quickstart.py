"""The whole road on the shipped sample: prepare, pretrain, fine-tune, the same ranker without the tower, evaluate both,
export, and score from the exported file.

Each stage is a verb of its own and is printed as the command that it is.
"""

import contextlib
import json
import shutil
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError

SUMMARY = "the whole road on the shipped sample, in minutes"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("--out", type=Path, default=Path("quickstart"), help="the folder to write")
    parser.add_argument("--config", default="kuairand", help="a recipe or a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="of both training runs")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace an earlier quickstart in --out")


def run(args: Namespace) -> dict[str, Any]:
    """Runs every stage, prints the table and writes OUT/report.json."""
    out: Path = args.out
    _clear(out, args.overwrite)
    stages = Stages(out)
    data, fused, no_tower, model = (str(out / name) for name in ("dataset", "fused", "no_tower", "model"))
    training = ["--config", args.config, "--seed", str(args.seed), "--data", data]
    prepared = stages.run("prepare", ["prepare", "kuairand", "--out", data])
    stages.run("pretrain", ["pretrain", *training, "--out", str(out / "pretrain")])
    stages.run("finetune", ["finetune", *training, "--out", fused, "--pretrained", str(out / "pretrain")])
    stages.run("finetune_no_tower", ["finetune", *training, "--out", no_tower, "--use_tower", "false"])
    fused_report = stages.run("evaluate", ["evaluate", fused, "--data", data])["metrics"]
    no_tower_report = stages.run("evaluate_no_tower", ["evaluate", no_tower, "--data", data])["metrics"]
    exported = stages.run("export", ["export", fused, "--out", model])
    scores = str(out / "scores.parquet")
    stages.run("score", ["score", model, str(out / "fused" / "requests.parquet"), "--out", scores])
    report = {
        "seconds": stages.seconds,
        "dataset": prepared,
        "metrics": {
            "fused": fused_report["model"],
            "no_tower": no_tower_report["model"],
            "popularity": fused_report["popularity"],
        },
        "parity": exported["parity"],
        "artifact": exported["artifact"],
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    _print(report, out)
    return report


class Stages:
    """Runs verbs one after the other, with what they print in OUT/log.txt and their seconds kept.

    Args:
        out: the folder that everything goes to.
    """

    def __init__(self, out: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._out = out
        self._verbs = {point.name: point for point in entry_points(group="pinfm.verbs")}

    def run(self, stage: str, command: Sequence[str]) -> dict[str, Any]:
        """Runs `pinfm COMMAND` and returns its report."""
        # Imported late: main.py imports nothing of the verbs, and the verbs nothing of main.py, until one runs.
        from pinfm.train.cli.main import run_verb

        print("$ pinfm " + " ".join(command), flush=True)
        start = time.perf_counter()
        report = self._out / "reports" / f"{stage}.json"
        with (self._out / "log.txt").open("a") as log, contextlib.redirect_stdout(log):
            run_verb(self._verbs[command[0]].load(), command[0], [*command[1:], "--report", str(report)])
        self.seconds[stage] = round(time.perf_counter() - start, 1)
        values: dict[str, Any] = json.loads(report.read_text())
        return values


def _clear(out: Path, overwrite: bool) -> None:
    if out.exists() and any(out.iterdir()):
        if not overwrite or not (out / "reports").is_dir():
            raise UserError(f"{out} is not empty; give another --out, or --overwrite true for an earlier quickstart.")
        shutil.rmtree(out)
    (out / "reports").mkdir(parents=True)


def _print(report: dict[str, Any], out: Path) -> None:
    from pinfm.train.metrics import metrics_table

    print("\n" + metrics_table(report["metrics"]) + "\n")
    print("seconds: " + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in report["seconds"].items()))
    parity = report["parity"]
    print(
        f"artefact {report['artifact']}: within {parity['max_abs_diff']:.1e} of the run on {parity['rows']} candidates"
    )
    print(f"everything is in {out}/report.json")
