"""Pretrain item tables and tower on the events of a prepared dataset, without labels."""

from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.train.cli.auto import tell_auto
from pinfm.train.cli.run_flags import add_run_flags, print_end, run_config
from pinfm.train.run_folder.place import Place, require_pretraining

SUMMARY = "self-supervised pretraining of tables and tower"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    add_run_flags(parser)


def run(args: Namespace) -> dict[str, Any]:
    """Trains; the report holds the last metrics."""
    config, place = run_config(args), Place(data=args.data, out=args.out, resume=args.resume, job=args.job)
    require_pretraining(config, place)
    tell_auto(args, config, args.out, leave_out="finetune.")

    from pinfm.train.phases import pretrain

    metrics = pretrain(config, place)
    print_end(args.out, metrics, config.pretrain, "segments")
    return {"run": str(args.out), "metrics": metrics}
