"""The whole road on the shipped sample: prepare, pretrain, fine-tune, the same ranker without the tower, evaluate both,
export, and score from the exported file.

Each stage is a verb of its own and is printed as the command that it is. The ranker without the tower needs nothing of
the pretraining, so it trains and is evaluated in a second process meanwhile.
"""

import contextlib
import json
import multiprocessing
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.train.cli.quiet import hush_libraries
from pinfm.train.cli.run_flags import AUTO
from pinfm.train.recipes import recipe_path

SUMMARY = "the whole road on the shipped sample, in minutes"
# What --overwrite may remove.
WRITTEN = {"dataset", "pretrain", "fused", "no_tower", "model", "scores.parquet", "report.json", "reports", "logs"}


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("--out", type=Path, default=Path("quickstart"), help="the folder to write")
    parser.add_argument("--config", default="kuairand", help="auto, a recipe or a YAML file")
    parser.add_argument("--seed", type=int, default=0, help="of the three training runs")
    parser.add_argument("--overwrite", type=bool, default=False, help="replace an earlier quickstart in --out")


def run(args: Namespace) -> dict[str, Any]:
    """Runs every stage, prints the table and writes OUT/report.json.

    Raises:
        UserError: `--out` holds something else, or what a verb raises.
    """
    out: Path = args.out
    if args.config != AUTO:
        recipe_path(args.config)  # a name that is none is told before anything is written
    _clear(out, args.overwrite)
    data, fused, no_tower, model = (str(out / name) for name in ("dataset", "fused", "no_tower", "model"))
    training = ["--config", args.config, "--seed", str(args.seed), "--data", data]
    stages = Stages(out)
    stages.run("prepare", ["prepare", "kuairand", "--out", data])
    beside = {
        "finetune_no_tower": ["finetune", *training, "--out", no_tower, "--use_tower", "false"],
        "evaluate_no_tower": ["evaluate", no_tower, "--data", data],
    }
    with stages.meanwhile(beside):
        stages.run("pretrain", ["pretrain", *training, "--out", str(out / "pretrain")])
        stages.run("finetune", ["finetune", *training, "--out", fused, "--pretrained", str(out / "pretrain")])
        stages.run("evaluate", ["evaluate", fused, "--data", data])
        stages.run("export", ["export", fused, "--out", model])
        scores = str(out / "scores.parquet")
        stages.run("score", ["score", model, str(out / "fused" / "requests.parquet"), "--out", scores])
    evaluated = {"fused": stages.report("evaluate"), "no_tower": stages.report("evaluate_no_tower")}
    baselines = {name: of for name, of in evaluated["fused"]["metrics"].items() if name != "model"}
    report = {
        "seconds": stages.seconds,
        "dataset": stages.report("prepare"),
        "metrics": {
            **{name: of["metrics"]["model"] for name, of in evaluated.items()},
            **baselines,
        },
        "read_histories": [name for name, of in evaluated.items() if of["reads_histories"]],
        "parity": stages.report("export")["parity"],
        "artifact": stages.report("export")["artifact"],
    }
    (out / "report.json").write_text(json.dumps(report, indent=2) + "\n")
    _print(report, out)
    return report


class Stages:
    """Runs verbs, with what each prints in OUT/logs, what it reports in OUT/reports, and its seconds kept.

    Args:
        out: the folder that everything goes to.
    """

    def __init__(self, out: Path) -> None:
        self.seconds: dict[str, float] = {}
        self._out = out

    def run(self, stage: str, command: Sequence[str]) -> None:
        """Runs `pinfm COMMAND` in this process."""
        self.seconds[stage] = _run_verb(self._out, stage, command)

    @contextlib.contextmanager
    def meanwhile(self, commands: Mapping[str, Sequence[str]]) -> Iterator[None]:
        """Runs `pinfm COMMAND` of each stage in a second process, while the body runs in this one.

        The two halve the threads; steps this small hardly use more than one core each.
        """
        import torch

        threads = torch.get_num_threads()
        half = max(1, threads // 2)
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(1, context, torch.set_num_threads, (half,)) as second:
            torch.set_num_threads(half)
            started = second.submit(_run_verbs, self._out, commands)
            try:
                yield
            except BaseException:
                for process in multiprocessing.active_children():
                    process.terminate()
                raise
            finally:
                torch.set_num_threads(threads)
            self.seconds |= started.result()

    def report(self, stage: str) -> dict[str, Any]:
        """What a stage that ran reported."""
        values: dict[str, Any] = json.loads(_report_file(self._out, stage).read_text())
        return values


def _run_verb(out: Path, stage: str, command: Sequence[str]) -> float:
    # Imported late: main.py imports nothing of the verbs, and the verbs nothing of main.py, until one runs.
    from pinfm.train.cli.main import run_verb

    print("$ pinfm " + " ".join(command), flush=True)
    start = time.perf_counter()
    verb = entry_points(group="pinfm.verbs")[command[0]].load()
    with (out / "logs" / f"{stage}.txt").open("w") as log, contextlib.redirect_stdout(log):
        run_verb(verb, command[0], [*command[1:], "--report", str(_report_file(out, stage))])
    return round(time.perf_counter() - start, 1)


def _run_verbs(out: Path, commands: Mapping[str, Sequence[str]]) -> dict[str, float]:
    hush_libraries()
    # One progress bar on the terminal is enough: the other process has it.
    with (out / "logs" / "meanwhile.txt").open("w") as log, contextlib.redirect_stderr(log):
        return {stage: _run_verb(out, stage, command) for stage, command in commands.items()}


def _report_file(out: Path, stage: str) -> Path:
    return out / "reports" / f"{stage}.json"


def _clear(out: Path, overwrite: bool) -> None:
    if out.exists() and any(out.iterdir()):
        if not overwrite or {path.name for path in out.iterdir()} - WRITTEN:
            raise UserError(f"{out} is not empty; give another --out, or --overwrite true for an earlier quickstart.")
        shutil.rmtree(out)
    for folder in ("reports", "logs"):
        (out / folder).mkdir(parents=True)


def _print(report: dict[str, Any], out: Path) -> None:
    from pinfm.train.metrics import metrics_notes, metrics_table

    notes = metrics_notes(report["metrics"], report["read_histories"])
    print("\n".join(["", metrics_table(report["metrics"]), *notes, ""]))
    print("seconds: " + ", ".join(f"{stage} {seconds:.0f}" for stage, seconds in report["seconds"].items()))
    parity = report["parity"]
    print(
        f"artefact {report['artifact']}: within {parity['max_abs_diff']:.1e} of the run on {parity['rows']} candidates"
    )
    print(f"everything is in {out}/report.json")
