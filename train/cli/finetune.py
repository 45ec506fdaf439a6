"""Train the multi-task ranker on impressions, jointly with the tower that feeds it."""

from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.train.cli.auto import tell_auto
from pinfm.train.cli.run_flags import add_run_flags, print_end, run_config
from pinfm.train.run_folder.place import Place, require_finetuning

SUMMARY = "joint training of tower and ranker on impressions"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    add_run_flags(parser)
    parser.add_argument("--pretrained", type=Path | None, default=None, help="a run of `pinfm pretrain` to start from")


def run(args: Namespace) -> dict[str, Any]:
    """Trains; the report holds the last metrics."""
    config = run_config(args)
    place = Place(data=args.data, out=args.out, resume=args.resume, pretrained=args.pretrained, job=args.job)
    require_finetuning(config, place)
    tell_auto(args, config, args.out, leave_out="pretrain.")

    from pinfm.train.phases import finetune

    metrics = finetune(config, place)
    print_end(args.out, metrics, config.finetune, "requests")
    return {"run": str(args.out), "metrics": metrics}
