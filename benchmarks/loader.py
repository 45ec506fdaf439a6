r"""Does the trainer wait for data? The loader against what fine-tuning consumes, and the memory that it takes.

    ./run python -m benchmarks.loader --out runs/loader --report loader.json

First, on the shipped sample of KuaiRand: the loader makes a whole epoch, from the files on, then the model trains on
some of these batches, in turns. Then, on simulated worlds of growing size, in ever more buckets of one size: the memory
that an epoch of loading takes, each in a process of its own.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time
from itertools import chain, islice
from pathlib import Path

import torch
import yaml
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from tqdm import tqdm, trange

from benchmarks.parts.quality.runs import prepared
from benchmarks.parts.speed.performance import add_output_flags, put_out
from pinfm.train.build import build_finetune, build_optimizer, finetune_tables, shard
from pinfm.train.cli.quiet import hush_libraries
from pinfm.train.cli.run_flags import config_from_manifest
from pinfm.train.config import RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.distributed import process_group
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.arrays import RequestArrays
from pinfm.train.loader.batches import RequestBatch
from pinfm.train.loader.feed import Feed
from pinfm.train.loader.feeds import request_feed
from pinfm.train.memory import process_mib, reset_peak
from pinfm.train.planning.uses import finetune_uses
from pinfm.train.recipes import recipe_path

CPU = torch.device("cpu")
USERS_PER_BUCKET = 250


def main() -> None:
    """Measures, prints two tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/loader"), help="where the datasets are prepared")
    parser.add_argument("--config", default="kuairand", help="recipe")
    parser.add_argument("--steps", type=int, default=20, help="batches that a turn trains on")
    parser.add_argument("--repeats", type=int, default=5, help="turns")
    parser.add_argument("--users", type=int, nargs="+", default=[4000, 16_000], help="of the simulated worlds")
    add_output_flags(parser)
    parser.add_argument("--memory-of", type=Path, help=argparse.SUPPRESS)  # how this program calls itself
    args = parser.parse_args()
    hush_libraries()
    torch.set_num_threads(args.threads)
    config = config_from_manifest(yaml.safe_load(recipe_path(args.config).read_text()))
    if args.memory_of is not None:
        print(json.dumps(memory_of_an_epoch(config, args.memory_of)))
        return
    speed = speed_of(config, prepared(KuaiRand(), args.out / "kuairand"), args.steps, args.repeats)
    memory = []
    for users in args.users:
        world = prepared(Simulate(num_users=users), args.out / f"simulate_{users}", users // USERS_PER_BUCKET)
        command = [sys.executable, "-m", "benchmarks.loader", "--config", args.config, "--memory-of", world]
        command += ["--threads", str(args.threads)]
        memory.append({"users": users, **json.loads(subprocess.check_output(command))})
    put_out(args, "loader", {"speed": [speed], "memory": memory})


def training_feed(config: RunConfig, dataset: PreparedDataset) -> Feed[RequestArrays]:
    """The batches that `pinfm finetune` would train on."""
    tables = finetune_tables(config, dataset.info.schema, dataset.info.counts.users)
    return request_feed(config, dataset, Ids(tables.item, tables.features, config.managed_ids), "train", training=True)


def speed_of(config: RunConfig, data: Path, steps: int, repeats: int) -> dict[str, float]:
    """Impressions a second of the loader and of training, and what the batches hold.

    Args:
        config: of the run.
        data: the prepared dataset.
        steps: batches that a turn trains on.
        repeats: turns; one more comes first and is not counted.
    """
    dataset = PreparedDataset.open(data)
    loading, training, ratios = [], [], []
    held = seen = copied = 0
    with process_group(CPU):
        feed, pipeline = training_feed(config, dataset), training_pipeline(config, dataset, CPU)
        epoch = feed.steps_per_epoch
        for repeat in trange(repeats + 1, unit="turn", disable=None):
            start = time.perf_counter()
            batches = feed.batches(repeat * epoch, (repeat + 1) * epoch)
            part = list(islice(batches, steps))
            # Nobody keeps the others: an epoch of batches may be more than the memory holds.
            everything = sum(len(batch.labels) for batch in chain(part, batches))
            loaded = time.perf_counter()
            train(pipeline, part)
            finished = time.perf_counter()
            if repeat:
                loading.append(everything / (loaded - start))
                training.append(sum(len(batch.labels) for batch in part) / (finished - loaded))
                ratios.append(loading[-1] / training[-1])
                held += sum(len(batch.history.item_id) for batch in part)
                seen += sum(int(batch.reads.visible.sum()) for batch in part)
                copied += sum(int((batch.reads.visible * batch.candidates.lengths).sum()) for batch in part)
    return {
        "loader, impressions/s": statistics.median(loading),
        "fine-tuning, impressions/s": statistics.median(training),
        "ratio": statistics.median(ratios),
        "events held": held,
        "events that requests see": seen,
        "events if copied per candidate": copied,
    }


def training_pipeline(config: RunConfig, dataset: PreparedDataset, device: torch.device) -> TrainPipelineSparseDist:
    """The model from scratch with its optimizer, as `pinfm finetune` steps it on a device."""
    phase = config.finetune
    tables = finetune_tables(config, dataset.info.schema, dataset.info.counts.users)
    module = build_finetune(config, dataset.info.schema, tables, device)
    uses = finetune_uses(config, tables, 1, dataset.info)
    model = shard(module, config, phase.optimizer, uses, device)
    model.train()
    return TrainPipelineSparseDist(model, build_optimizer(model, phase.optimizer), device, execute_all_batches=True)


def train(pipeline: TrainPipelineSparseDist, part: list[RequestBatch]) -> None:
    """Trains on some batches, one at a time."""
    batches = iter(part)
    for _ in part:
        pipeline.progress(batches)


def memory_of_an_epoch(config: RunConfig, data: Path) -> dict[str, float]:
    """What loading an epoch adds to this process's memory."""
    dataset = PreparedDataset.open(data)
    with process_group(CPU):
        reset_peak()
        before = process_mib("VmHWM")
        feed = training_feed(config, dataset)
        impressions = 0
        for batch in tqdm(feed.batches(0, feed.steps_per_epoch), total=feed.steps_per_epoch, disable=None):
            impressions += len(batch.labels)
    files = sum(file.stat().st_size for file in data.rglob("*.parquet"))
    return {
        "buckets": dataset.info.num_buckets,
        "impressions": impressions,
        "files, MiB": files / 2**20,
        "loader, MiB": process_mib("VmHWM") - before,
    }


if __name__ == "__main__":
    main()
