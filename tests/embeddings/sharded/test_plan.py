"""The planner: shards add up, what does not fit says what would, and training shards by the same plan."""

import re
from dataclasses import replace

import pytest
import torch
from torch import nn
from torchrec.distributed.embedding import EmbeddingCollectionSharder
from torchrec.optim.apply_optimizer_in_backward import apply_optimizer_in_backward
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.collections import embedding_collection
from pinfm.embeddings.sharded.hardware import GIB, Hardware, this_hardware
from pinfm.embeddings.sharded.plan import TableUse, planned_tables, sharding_plan
from pinfm.embeddings.sharded.sub_tables import table_bytes
from pinfm.embeddings.sharded.too_small import DoesNotFitError
from pinfm.embeddings.specs import IdTable, ItemTableConfig

SHARDERS = [EmbeddingCollectionSharder()]
USES = dict.fromkeys(("item_0", "item_1"), TableUse())


def model(rows=80_000_000, precision="fp16", num_hashes=2, optimizer=RowWiseAdagrad, feature_rows=0):
    names = [IdTable(name="item", num_hashes=num_hashes, rows=rows, dim=32, precision=precision)]
    if feature_rows:
        # Named like the items' tables, which it is none of.
        names.append(IdTable(name="item_brand", num_hashes=2, rows=feature_rows, dim=32))
    tables = embedding_collection(names, torch.device("meta"))
    apply_optimizer_in_backward(optimizer, tables.parameters(), {"lr": 0.1})
    return nn.ModuleDict({"item_tables": tables})


@pytest.mark.parametrize("world_size", [1, 2, 8, 16])
def test_shards_are_the_whole_table(world_size):
    for option in planned_tables(model(), SHARDERS, Hardware(world_size=world_size), USES):
        assert sum(shard.size[0] * shard.size[1] for shard in option.shards) == 80_000_000 * 32
        assert {shard.rank for shard in option.shards} <= set(range(world_size))


def test_tables_are_as_large_as_their_rows_and_the_optimizer():
    assert table_bytes(model()) == dict.fromkeys(("item_0", "item_1"), (80000000 * 64, 80000000 * 4))
    assert table_bytes(model(rows=10, precision="fp32", num_hashes=1)) == {"item_0": (10 * 128, 40)}
    a_sum_a_value = model(rows=10, num_hashes=1, optimizer=torch.optim.Adagrad)
    assert table_bytes(a_sum_a_value) == {"item_0": (10 * 64, 10 * 128)}


@pytest.mark.parametrize(
    ("sharding", "shapes"),
    [
        ("row_wise", [[500, 32], [500, 32]]),
        ("column_wise", [[1000, 16], [1000, 16]]),
        ("table_wise", [[1000, 32]]),
    ],
)
def test_a_sharding_that_is_asked_for_is_planned(sharding, shapes):
    small = model(rows=1000, precision="fp32", optimizer=torch.optim.Adagrad)
    uses = dict.fromkeys(USES, TableUse(sharding=sharding))
    for option in planned_tables(small, SHARDERS, Hardware(world_size=2), uses):
        assert (option.sharding_type, [shard.size for shard in option.shards]) == (sharding, shapes)


def test_a_whole_table_that_no_rank_can_hold_is_named():
    uses = dict.fromkeys(USES, TableUse(sharding="table_wise"))
    with pytest.raises(
        UserError, match=r"item_0 needs 5\.1 GiB .* a rank has 3\.4 GiB .* item_table\.sharding row_wise"
    ):
        planned_tables(model(), SHARDERS, Hardware(world_size=8, hbm_gib=4.0), uses)
    rows = dict.fromkeys(USES, TableUse(sharding="row_wise"))
    planned_tables(model(), SHARDERS, Hardware(world_size=8, hbm_gib=4.0), rows)


@pytest.mark.parametrize(("rows", "ranks"), [(1, 2), (4, 3), (32, 12)])
def test_a_table_is_cut_by_rows_where_every_rank_gets_some(rows, ranks):
    small, hardware = model(rows, "fp32"), Hardware(world_size=ranks)
    for option in planned_tables(small, SHARDERS, hardware, USES):
        assert option.sharding_type == "table_wise"
    for option in planned_tables(model(rows + ranks * ranks, "fp32"), SHARDERS, hardware, USES):
        assert all(shard.size[0] > 0 for shard in option.shards)
    by_rows = dict.fromkeys(USES, TableUse(sharding="row_wise"))
    with pytest.raises(UserError, match=rf"the {rows} rows of item_0 can't be cut over {ranks} ranks .* table_wise"):
        planned_tables(small, SHARDERS, hardware, by_rows)


def test_what_a_step_looks_up_may_be_too_much():
    uses = dict.fromkeys(USES, TableUse(ids_per_step=1e8))
    with pytest.raises(DoesNotFitError, match=r"too few beside what a step looks up of them") as error:
        planned_tables(model(rows=1000), SHARDERS, Hardware(world_size=1, hbm_gib=1.0), uses)
    assert error.value.mends[-1] == "lower pretrain.batch_size or finetune.batch_size"


def test_rows_with_one_sum_are_not_cut_unless_told():
    with pytest.raises(UserError, match=r"sharding column_wise would give .*; set item_table\.optimizer to adagrad"):
        ItemTableConfig(sharding="column_wise")
    ItemTableConfig(sharding="column_wise", optimizer="adagrad")


def test_more_ids_take_more_memory():
    def buffers(ids):
        uses = dict.fromkeys(USES, TableUse(ids_per_step=ids))
        options = planned_tables(model(), SHARDERS, Hardware(world_size=2), uses)
        return sum(shard.storage.hbm for option in options for shard in option.shards)

    assert buffers(1e6) - buffers(1.0) > 1e6 * 32 * 4


def test_what_does_not_fit_says_what_is_short_and_what_would_fit():
    small = Hardware(world_size=1, hbm_gib=8.0)
    with pytest.raises(UserError, match=r"need 10\.1 GiB .* 1 rank\(s\) have 6\.8 GiB .* 3\.3 GiB short; .*") as error:
        planned_tables(model(), SHARDERS, small, USES)
    assert error.value.mends == [
        "take 2 ranks",
        "lower item_table.rows to 67 % of it",
        "plan with 5 GiB of host memory a rank, which training can't use yet",
    ]
    options = planned_tables(model(), SHARDERS, Hardware(world_size=1, hbm_gib=8.0, host_gib=5.0), USES)
    assert any("uvm" in option.compute_kernel for option in options)
    with pytest.raises(UserError, match=r"set item_table\.precision to fp16"):
        planned_tables(model(precision="fp32"), SHARDERS, Hardware(world_size=1, hbm_gib=12.0), USES)


@pytest.mark.parametrize("sharding", ["auto", "row_wise", "table_wise"])
@pytest.mark.parametrize("device", ["cuda", "cpu"])
@pytest.mark.parametrize(
    ("gib", "ranks", "feature_rows"), [(8.0, 1, 0), (7.0, 3, 0), (3.0, 2, 0), (7.0, 3, 4_000_000), (8.0, 1, 30_000_000)]
)
def test_every_mend_is_one(sharding, device, gib, ranks, feature_rows):
    sub_tables = 5
    uses = {f"item_{k}": TableUse(sharding=sharding) for k in range(sub_tables)}
    memory = {"hbm_gib": gib} if device == "cuda" else {"host_gib": gib}
    hardware = Hardware(device=device, world_size=ranks, **memory)
    with pytest.raises(DoesNotFitError) as error:
        planned_tables(
            model(num_hashes=sub_tables, precision="fp32", feature_rows=feature_rows), SHARDERS, hardware, uses
        )
    for mend in error.value.mends:
        (number,) = re.findall(r"\d+", mend.replace("fp16", "16")) or [None]
        rows, precision, changed = 80_000_000, "fp32", hardware
        if mend.startswith("take"):
            changed = replace(hardware, world_size=int(number))
        elif mend.startswith("lower item_table.rows to"):
            rows = rows * int(number) // 100
        elif "fp16" in mend:
            precision = "fp16"
        elif "host memory" in mend:
            changed = replace(hardware, host_gib=float(number))
        else:
            assert "cut it over the ranks" in mend or mend.startswith("lower item_table.rows")
            continue
        planned_tables(model(rows, precision, sub_tables, feature_rows=feature_rows), SHARDERS, changed, uses)
    assert error.value.mends


def test_on_a_cpu_more_memory_is_more_machines(group):
    small = Hardware(device="cpu", world_size=1, ranks_per_node=1, host_gib=4.0)
    with pytest.raises(DoesNotFitError, match=r"take 4 machines like this one"):
        sharding_plan(model(), SHARDERS, group, small, USES)


def test_host_memory_is_left_alone_unless_allowed():
    options = planned_tables(model(), SHARDERS, Hardware(world_size=2), USES)
    assert {option.compute_kernel for option in options} == {"fused"}
    assert all(shard.storage.ddr == 0 for option in options for shard in option.shards)


def test_training_shards_by_the_plan(group):
    hardware = Hardware(device="cpu", world_size=1, host_gib=1.0)
    small = model(rows=1000, precision="fp32")
    planned = {option.name: option.sharding_type for option in planned_tables(small, SHARDERS, hardware, USES)}
    plan = sharding_plan(small, SHARDERS, group, hardware, USES)
    assert {name: part.sharding_type for name, part in plan.plan["item_tables"].items()} == planned
    with pytest.raises(UserError, match="GiB short"):
        sharding_plan(model(), SHARDERS, group, hardware, USES)


def test_this_machine_has_memory(group):
    hardware = this_hardware(torch.device("cpu"), group)
    assert (hardware.device, hardware.world_size, hardware.ranks_per_node) == ("cpu", 1, 1)
    assert 0.5 * GIB < hardware.host_gib * GIB < 1 << 50


@pytest.mark.parametrize(
    ("fields", "sentence"),
    [
        ({"world_size": 0}, "world_size"),
        ({"world_size": 10**6}, r"world_size \(1000000\) must be at most 16384: plans go rank by rank"),
        ({"hbm_gib": 0.0}, "hbm_gib"),
        ({"host_gib": -1.0}, "host_gib"),
        ({"device": "cpu"}, "host_gib"),
        ({"inter_node_gb_s": float("nan")}, "inter_node_gb_s"),
    ],
)
def test_hardware_that_is_none_is_refused(fields, sentence):
    with pytest.raises(UserError, match=sentence):
        Hardware(**fields)
