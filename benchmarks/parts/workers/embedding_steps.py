"""What benchmarks/embedding_scale.py starts, by torchrun: pretraining steps with item tables of some size."""

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist
from torchrec.distributed.model_parallel import DistributedModelParallel
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from pinfm.embeddings.sharded.collections import RowFinder
from pinfm.embeddings.sharded.hardware import Hardware
from pinfm.embeddings.specs import ItemTableConfig
from pinfm.model.config import TowerConfig
from pinfm.train.build import build_optimizer, build_pretrain, pretrain_tables, shard
from pinfm.train.cli.quiet import hush_libraries
from pinfm.train.config import PretrainConfig, RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.distributed import process_group
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.batches import SegmentBatch
from pinfm.train.loader.feeds import segment_feed
from pinfm.train.memory import give_back_memory, process_mib
from pinfm.train.planning.plan import plan
from pinfm.train.planning.uses import pretrain_uses

CPU = torch.device("cpu")
NUM_HASHES, DIM = 8, 16
WARM_UP = 5
# Of each sub-table of the models that the measured one is compared with.
SMALL_ROWS = 16


def main() -> None:
    """The first rank prints what it found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True, help="of all sub-tables together")
    parser.add_argument("--steps", type=int, required=True)
    parser.add_argument("--threads", type=int, required=True, help="of each rank")
    args = parser.parse_args()
    hush_libraries()
    torch.set_num_threads(args.threads)
    config = RunConfig(
        device="cpu",
        item_table=ItemTableConfig(num_hashes=NUM_HASHES, rows=args.rows // NUM_HASHES, dim=DIM),
        tower=TowerConfig(num_layers=1, dim=64, num_heads=2, out_dim=64, dropout=0.0),
        pretrain=PretrainConfig(batch_size=64, segment_length=64),
    )
    with process_group(CPU):
        found = measure(config, PreparedDataset.open(args.data), args.steps)
        if dist.get_rank() == 0:
            print(json.dumps(found), flush=True)


def measure(config: RunConfig, dataset: PreparedDataset, steps: int) -> dict[str, Any]:
    """Milliseconds of a step and of its tables' part, and GiB of the rank that has most."""
    tables = pretrain_tables(config)
    feed = segment_feed(config, dataset, Ids(tables.item, (), config.managed_ids))
    finder = RowFinder([tables.item])
    batches = [with_new_ids(batch, finder) for batch in feed.batches(0, WARM_UP + steps)]
    # The tower is no table's, nor is what the libraries take for themselves with the first model.
    small = replace(config, item_table=replace(config.item_table, rows=SMALL_ROWS))
    first, _ = built(small, dataset)
    second, without_rows = built(small, dataset)
    model, whole = built(config, dataset)
    del first, second
    held = torch.tensor(whole - without_rows)
    dist.all_reduce(held, op=dist.ReduceOp.MAX)
    lookups = [table_step(model, batch) for batch in batches]
    step_ms = training_steps(model, build_optimizer(model, config.pretrain.optimizer), batches)
    return {
        "rows": config.item_table.rows * NUM_HASHES,
        "ranks": dist.get_world_size(),
        "ids a step": len(batches[0].item_ids) * NUM_HASHES,
        "step, ms": statistics.median(step_ms[WARM_UP:]),
        "tables alone, ms": statistics.median(lookups[WARM_UP:]),
        "memory, GiB": float(held),
        "planned, GiB": planned_gib(config),
    }


def built(config: RunConfig, dataset: PreparedDataset) -> tuple[DistributedModelParallel, float]:
    """Tower and sharded tables, as pretraining starts with them, and the GiB that they took."""
    before, tables = anonymous_gib(), pretrain_tables(config)
    module = build_pretrain(config, dataset.info.schema, tables, CPU)
    uses = pretrain_uses(config, tables, dist.get_world_size(), dataset.info)
    model = shard(module, config, config.pretrain.optimizer, uses, CPU)
    return model, anonymous_gib() - before


def with_new_ids(batch: SegmentBatch, finder: RowFinder) -> SegmentBatch:
    """The batch with other items in place of its own, all different, so that every size of table is looked up alike."""
    ids_V = torch.empty_like(batch.item_ids).random_(-(2**63), None)
    return replace(batch, item_rows=finder({"item": (ids_V, torch.tensor([len(ids_V)]))}))


def table_step(model: DistributedModelParallel, batch: SegmentBatch) -> float:
    """Milliseconds of lookup, backward and Adagrad, without the tower."""
    dist.barrier()
    start = time.perf_counter()
    vectors = model.module.item_tables(batch.item_rows)
    torch.stack([vector.values().mean() for vector in vectors.values()]).sum().backward()
    return 1e3 * (time.perf_counter() - start)


def training_steps(
    model: DistributedModelParallel, optimizer: torch.optim.Optimizer, batches: list[SegmentBatch]
) -> list[float]:
    """Milliseconds of each whole training step."""
    pipeline = TrainPipelineSparseDist(model, optimizer, CPU, execute_all_batches=True)
    model.train()
    rest, seconds = iter(batches), []
    for _ in batches:
        start = time.perf_counter()
        pipeline.progress(rest)
        seconds.append(1e3 * (time.perf_counter() - start))
    return seconds


def planned_gib(config: RunConfig) -> float:
    """Weights and optimizer of the rank that has most, as `pinfm plan` tells them."""
    world_size = dist.get_world_size()
    hardware = Hardware(device="cpu", world_size=world_size, ranks_per_node=world_size, host_gib=64.0)
    ranks = plan(config, hardware, "pretrain", None)["ranks"]
    return max(float(rank["host"]["weights"] + rank["host"]["optimizer"]) for rank in ranks)


def anonymous_gib() -> float:
    """Memory that this process holds and no file backs."""
    give_back_memory()
    return process_mib("RssAnon") / 1024


if __name__ == "__main__":
    main()
