"""`pinfm plan`: the sharding plan and the memory of every rank, on the meta device."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

from torch import nn
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.distributed.planner.types import Shard, ShardingOption

from pinfm.embeddings.errors import require_choice
from pinfm.embeddings.managed import map_bytes
from pinfm.embeddings.sharded.collections import embedding_collection
from pinfm.embeddings.sharded.hardware import GIB, Hardware
from pinfm.embeddings.sharded.plan import planned_tables
from pinfm.embeddings.sharded.sub_tables import OPTIMIZER_BYTES, optimizer_values
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES
from pinfm.train.build import META, Tables, finetune_tables, fuse_optimizer, pretrain_tables
from pinfm.train.config import RunConfig, require_equal_shares
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import DatasetInfo
from pinfm.train.planning.uses import finetune_uses, pretrain_uses

Phase = Literal["pretrain", "finetune"]
PARTS = ("weights", "optimizer", "buffers")


def plan(config: RunConfig, hardware: Hardware, phase: Phase, data: Path | None) -> dict[str, Any]:
    """The plan that a run would train by on some hardware.

    Args:
        config: of the run.
        hardware: to plan for; it need not be there.
        phase: whose batches and learning rates count.
        data: a prepared dataset, for the tables of the user id and of its features; the item tables alone where None.

    Returns:
        `hardware`; `tables`: sharding, kernel and shards of each; `ranks`: for each rank GiB of `hbm` and `host`, split
        into weights, optimizer and buffers (looked-up rows, ids, caches), in `host` also the maps of managed ids, which
        the planner does not weigh, and the estimated milliseconds of communication a step.

    Raises:
        UserError: the tables do not fit; says what would. Or training could not deal out its data to so many ranks.
    """
    require_choice("phase", phase, Phase)
    require_equal_shares(config.data_streams, hardware.world_size)
    info = None if data is None else PreparedDataset.open(data).info
    tables = _tables_of(config, phase, info)
    modules = nn.ModuleDict({ITEM_TABLES: embedding_collection([tables.item], META)})
    if tables.features:
        modules[FEATURE_TABLES] = embedding_collection(tables.features, META)
    fuse_optimizer(modules, config, config.pretrain.optimizer if phase == "pretrain" else config.finetune.optimizer)
    uses_of = pretrain_uses if phase == "pretrain" else finetune_uses
    uses = uses_of(config, tables, hardware.world_size, info)
    options = planned_tables(modules, [EmbeddingCollectionSharder()], hardware, uses)
    ranks = [_rank_row(rank, options, hardware) for rank in range(hardware.world_size)]
    managed = [table for table in (tables.item, *tables.features) if table.ids == "managed"]
    for row in ranks:
        # Every rank holds the whole of each map, beside what was planned.
        row["host"]["maps"] = sum(map_bytes(table.rows, config.managed_ids) for table in managed) / GIB
    return {"hardware": asdict(hardware), "tables": [_table_row(option) for option in options], "ranks": ranks}


def _tables_of(config: RunConfig, phase: Phase, info: DatasetInfo | None) -> Tables:
    # Without a dataset nothing is known of features.
    if phase == "pretrain" or info is None:
        return pretrain_tables(config)
    return finetune_tables(config, info.schema, info.counts.users)


def _table_row(option: ShardingOption) -> dict[str, Any]:
    rows, columns = option.tensor.shape
    return {
        "table": option.name,
        "rows": rows,
        "columns": columns,
        "sharding": option.sharding_type,
        "kernel": option.compute_kernel,
        "gib": rows * columns * option.tensor.element_size() / GIB,
        "shards": [{"rank": shard.rank, "rows": shard.size[0], "columns": shard.size[1]} for shard in option.shards],
    }


def _rank_row(rank: int, options: list[ShardingOption], hardware: Hardware) -> dict[str, Any]:
    row: dict[str, Any] = {"rank": rank}
    for memory in ("hbm", "host"):
        row[memory] = dict.fromkeys(PARTS, 0.0)
    row["communication_ms"] = 0.0
    for option in options:
        for shard in option.shards:
            if shard.rank == rank:
                for memory, parts in _shard_memory(option, shard, hardware).items():
                    for part, size in parts.items():
                        row[memory][part] += size / GIB
                perf = shard.perf
                row["communication_ms"] += perf.fwd_comms + perf.bwd_comms + perf.input_dist_comms
    return row


def _shard_memory(option: ShardingOption, shard: Shard, hardware: Hardware) -> Mapping[str, Mapping[str, int]]:
    """Bytes of one shard, where the kernel keeps them."""
    rows, columns = shard.size
    weights = rows * columns * option.tensor.element_size()
    main = "host" if hardware.device == "cpu" or "uvm" in option.compute_kernel else "hbm"
    storage = {"hbm": shard.storage.hbm, "host": shard.storage.ddr}
    sums = optimizer_values(option.tensor, rows, columns)
    # TorchRec counts a sum as large as a weight.
    storage[main] -= weights + sums * option.tensor.element_size()
    return {
        memory: {
            "weights": weights if memory == main else 0,
            "optimizer": sums * OPTIMIZER_BYTES if memory == main else 0,
            "buffers": max(storage[memory], 0),
        }
        for memory in ("hbm", "host")
    }
