"""Evaluate a run: ranking metrics per task for a fine-tuned run, and retrieval by its tower or a pretrained one.

Retrieval asks for a user's next item among the whole catalogue. A query is a user's first positive event in the split,
or the newest where they were held out by place (leave-one-out): that item is to be found, the user's events before it
are the history, and the items of the history are removed from the answers (docs/operations.md).
"""

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from pinfm.model.stored.run_folder import RunFolder, Which
from pinfm.train.cli.flags.words import name_list
from pinfm.train.cli.run_flags import config_from_manifest
from pinfm.train.config import Device
from pinfm.train.data.info import DatasetInfo

SUMMARY = "metrics of a run on a split"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("run", type=Path, help="a run folder")
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--split", type=Literal["train", "validation", "test"], default="test", help="which requests")
    parser.add_argument("--device", type=Device, default="auto", help="where a fine-tuned run is evaluated")
    told = "tell a tower with request_time when the target happens, as a server tells it the time of a request"
    parser.add_argument("--tell-time", type=bool, default=True, help=told)
    parser.add_argument(
        "--checkpoint",
        type=Which,
        default="best",
        help="the step of the checkpoint to evaluate, or newest, or best: by the validation of `pretrain` and "
        "`finetune`, the newest of a run that had none",
    )
    parser.add_argument(
        "--predictions",
        type=Path | None,
        default=None,
        help="also write what a fine-tuned run says of each candidate to this Parquet file: request_id, user_id, "
        "timestamp, item_id, and of every task label_TASK and the probability TASK; ids as the log writes them",
    )

    parser.add_argument(
        "--item-age-thresholds",
        type=name_list,
        default=[],
        help="of the slices by item age, such as '[1h, 4h]': young below the first, old from the second on; default: "
        "the dataset's",
    )
    parser.add_argument(
        "--retrieval",
        type=bool,
        default=True,
        help="ask the tower of a fine-tuned run for next items as well; a pretrained one is always asked",
    )


def run(args: Namespace) -> dict[str, Any]:
    """Evaluates, prints the table, and reports everything."""
    run = RunFolder.open(args.run)
    config = config_from_manifest(run.manifest["config"])
    checkpoint = run.checkpoint_at(args.checkpoint)
    DatasetInfo.read(args.data)

    from pinfm.train.evaluation.evaluate import EvaluateOptions, evaluate
    from pinfm.train.metrics import metrics_notes, metrics_table, retrieval_table

    options = EvaluateOptions(
        device=args.device,
        tell_time=args.tell_time,
        checkpoint=args.checkpoint,
        predictions=args.predictions,
        item_age_thresholds=tuple(args.item_age_thresholds),
        retrieval=args.retrieval,
    )
    report = evaluate(args.run, config, args.data, args.split, options)
    found = run.validated()
    if found is not None:
        print(f"{checkpoint} ({found.told()})" if args.checkpoint == "best" else checkpoint)
    if "metrics" in report:
        reading = ["model"] if report["reads_histories"] else []
        print("\n".join([metrics_table(report["metrics"]), *metrics_notes(report["metrics"], reading)]))
        print()
    if "retrieval" in report:
        print(retrieval_table({"model": report["retrieval"], **report["retrieval_baselines"]}))
    of = {"run": str(args.run), "checkpoint": checkpoint.name, "data": str(args.data), "split": args.split}
    return {**of, **report}
