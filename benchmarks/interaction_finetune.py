r"""What an interaction costs where it is trained: whole fine-tuning steps, with tables, tower and optimizer.

    ./run python -m benchmarks.interaction_finetune --report finetune.json

The recipe's model with each of some interactions, from scratch, steps through the same batches of the shipped sample of
KuaiRand, in turns. All else is equal, the shared MLP too.
"""

import argparse
import statistics
from dataclasses import replace
from itertools import islice
from pathlib import Path
from typing import Any

import torch
import yaml
from tqdm import trange

from benchmarks.loader import train, training_feed, training_pipeline
from benchmarks.parts.quality.runs import prepared
from benchmarks.parts.speed.interaction_measure import REFERENCE, ratio
from benchmarks.parts.speed.meter import Meter
from benchmarks.parts.speed.performance import add_output_flags, put_out
from pinfm.train.cli.quiet import hush_libraries
from pinfm.train.cli.run_flags import config_from_manifest
from pinfm.train.config import RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.distributed import choose_device, process_group
from pinfm.train.recipes import recipe_path

INTERACTIONS = (REFERENCE, "dcn_v2", "pinterest_baseline", "pinterest")


def main() -> None:
    """Measures, prints a table and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/interactions"), help="where the dataset is prepared")
    parser.add_argument("--config", default="kuairand", help="recipe")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--interactions", nargs="+", metavar="NAME", default=INTERACTIONS, help="of the table of forms")
    parser.add_argument("--steps", type=int, default=10, help="batches of a turn")
    parser.add_argument("--repeats", type=int, default=7, help="turns")
    add_output_flags(parser)
    args = parser.parse_args()
    hush_libraries()
    torch.set_num_threads(args.threads)
    config = config_from_manifest(yaml.safe_load(recipe_path(args.config).read_text()))
    dataset = PreparedDataset.open(prepared(KuaiRand(), args.out / "kuairand"))
    names = dict.fromkeys([REFERENCE, *args.interactions])
    configs = {name: replace(config, ranker=replace(config.ranker, interaction=name)) for name in names}
    rows = step_rows(configs, dataset, Meter(args.device), args.steps, args.repeats)
    put_out(args, f"interaction finetune {args.device}", {"steps": rows})


def step_rows(
    configs: dict[str, RunConfig], dataset: PreparedDataset, meter: Meter, steps: int, repeats: int
) -> list[dict[str, Any]]:
    """Impressions a second of each config, and as a share of the dot product's.

    Args:
        configs: interaction -> run.
        dataset: what they train on.
        meter: of the device to train on.
        steps: batches of a turn.
        repeats: turns; one more comes first and is not counted.
    """
    device = choose_device(meter.device)
    rates: dict[str, list[float]] = {name: [] for name in configs}
    with process_group(device):
        feed = training_feed(configs[REFERENCE], dataset)
        pipelines = {name: training_pipeline(config, dataset, device) for name, config in configs.items()}
        epoch = feed.steps_per_epoch
        for turn in trange(repeats + 1, unit="turn", disable=None):
            part = list(islice(feed.batches(turn * epoch, (turn + 1) * epoch), steps))
            for name, pipeline in pipelines.items():
                start = meter.now()
                train(pipeline, part)
                if turn:
                    rates[name].append(sum(len(batch.labels) for batch in part) / (meter.now() - start))
    return [
        {
            "interaction": name,
            "fine-tuning, impressions/s": statistics.median(of_name),
            "of dot": ratio(of_name, rates[REFERENCE]),
        }
        for name, of_name in rates.items()
    ]


if __name__ == "__main__":
    main()
