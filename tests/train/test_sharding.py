"""Tables cut by rows, by columns or whole, over two and four processes, train as an unsharded model does.

So do tables of managed ids, whose maps are the same everywhere.
"""

import sys
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
import runs
import torch
from pandas.testing import assert_frame_equal
from torch.distributed.checkpoint import FileSystemReader
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad

from pinfm.embeddings.one_device.lookup import init_range
from pinfm.embeddings.sharded.collections import embedding_collection
from pinfm.embeddings.sharded.init import fill_uniform, uniform_rows
from pinfm.embeddings.specs import ManagedIdsConfig
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.build import build_pretrain, pretrain_tables
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import segment_feed
from pinfm.train.loop import learning_rate_factor
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder.place import Place

pytestmark = [pytest.mark.dist, pytest.mark.usefixtures("mpzch_kernel")]

STEPS, HALF = 20, 8
# AdamW divides by the root of a second moment, so the rounding of a tiny gradient shows. That of the keys' bias is
# nothing but rounding: the softmax does not see it.
TOLERANCE = {"rtol": 1e-3, "atol": 5e-4}


def config_of(kind):
    if kind == MPZCH:
        return replace(config_of("row_wise_managed"), managed_ids=replace(MANAGED_IDS, map="mpzch", eviction="lru"))
    if kind == FINETUNE:
        plain = config_of("row_wise_managed")
        users = replace(plain.feature_tables, user_ids="managed", max_rows=30)
        return replace(plain, feature_tables=users, finetune=replace(plain.finetune, batch_size=16))
    if kind.endswith("managed"):
        # Fewer rows than items, so that rows change hands.
        plain = config_of(kind.removesuffix("_managed"))
        return replace(plain, item_table=replace(plain.item_table, ids="managed", rows=60), managed_ids=MANAGED_IDS)
    optimizer = "adagrad" if kind == "column_wise" else "rowwise_adagrad"
    return replace(
        runs.CONFIG,
        checkpoint_steps=HALF,
        item_table=replace(runs.CONFIG.item_table, dim=16, sharding=kind, optimizer=optimizer),
        # The queue of a dataset this small is a few steps; epochs make them 20.
        pretrain=replace(runs.CONFIG.pretrain, batch_size=8, epochs=2),
    )


SHARDINGS = ("column_wise", "row_wise", "table_wise")
FINETUNE = "finetune_managed"  # users have managed ids too
MPZCH = "mpzch_managed"
KINDS = (*SHARDINGS, *(f"{sharding}_managed" for sharding in SHARDINGS), FINETUNE, MPZCH)
# Rows are earned from the first step on: while all items share one, its gradient is rounding alone.
MANAGED_IDS = ManagedIdsConfig(min_count=2, update_steps=1, eviction="distance_lfu")


def launch(processes, dataset, folder):
    """Trains every config of the folder with so many processes."""
    script = Path(__file__).with_name("sharded_processes.py")
    finds_what_tests_share = f"PYTHONPATH={Path(runs.__file__).parent}"
    launcher = ["env", finds_what_tests_share, sys.executable, "-m", "torch.distributed.run", "--standalone"]
    ports = runs.free_ports(len(list(folder.glob("*.yaml"))))
    runs.command(*launcher, "--nproc-per-node", processes, script, dataset, folder, *ports, cwd=folder)
    return folder


@pytest.fixture(scope="module")
def at_two(root, dataset):
    folder = root / "sharded_two"
    folder.mkdir()
    for kind in KINDS:
        runs.write_config(config_of(kind), folder / f"{kind}.yaml")
    return launch(2, dataset, folder)


@pytest.fixture(scope="module")
def at_four(root, dataset, at_two):
    """Runs of four processes, and runs of two, named continued_*, that four go on with."""
    folder = root / "sharded_four"
    folder.mkdir()
    for kind in KINDS:
        for name in (kind, f"continued_{kind}"):
            runs.write_config(config_of(kind), folder / f"{name}.yaml")
        runs.interrupted(at_two / kind, folder / f"continued_{kind}", HALF)
    return launch(4, dataset, folder)


def train(kind, place):
    """Trains a kind's config in this process."""
    phase = finetune if kind == FINETUNE else pretrain
    phase(config_of(kind), place)


def plain(value):
    """Tensors and arrays as lists."""
    if isinstance(value, (list, tuple)):
        return [plain(part) for part in value]
    return value.tolist() if hasattr(value, "tolist") else value


def assert_same(run, expected):
    """Losses of every step, then every tensor of the checkpoint: tables, Adagrad's sums, dense weights, AdamW's."""
    assert_frame_equal(runs.losses(run), runs.losses(expected), rtol=1e-4, atol=2e-6)
    ours, theirs = runs.checkpoint(run), runs.checkpoint(expected)
    assert ours["step"] == theirs["step"] == len(runs.losses(run))
    torch.testing.assert_close(ours["model"], theirs["model"], **TOLERANCE)
    torch.testing.assert_close(ours["optimizer"]["state"], theirs["optimizer"]["state"], **TOLERANCE)
    assert ("ids" in theirs) == expected.name.endswith("managed")
    if "ids" in theirs:
        ours_by_name, theirs_by_name = (pd.json_normalize(state["ids"]).iloc[0] for state in (ours, theirs))
        assert ours_by_name.map(plain).to_dict() == theirs_by_name.map(plain).to_dict()


@pytest.fixture(scope="module")
def at_one(root, dataset):
    folder = root / "sharded_one"
    for kind in KINDS:
        train(kind, Place(data=dataset, out=folder / kind))
    return folder


@pytest.mark.parametrize("sharding", SHARDINGS)
def test_one_process_trains_as_an_unsharded_model(group, at_one, dataset, sharding):
    assert_same_as_unsharded(at_one / sharding, config_of(sharding), dataset)


FROM_INIT = replace(config_of("row_wise_managed"), managed_ids=replace(MANAGED_IDS, new_items="init"))


@pytest.fixture
def from_init(dataset, tmp_path):
    pretrain(FROM_INIT, Place(data=dataset, out=tmp_path / "run"))
    return tmp_path / "run"


def test_managed_ids_train_as_in_an_unsharded_model(from_init, group, dataset):
    assert_same_as_unsharded(from_init, FROM_INIT, dataset)
    assert runs.losses(from_init)["ids/item/evicted"].iloc[-1] > FROM_INIT.item_table.rows


def assert_same_as_unsharded(run, config, dataset):
    losses, tables, sums = unsharded(config, dataset)
    assert len(losses) >= STEPS
    pd.testing.assert_series_equal(runs.losses(run)["loss"], losses, rtol=1e-4)
    state = runs.checkpoint(run)
    for name, table in tables.items():
        torch.testing.assert_close(state["model"][name], table, **TOLERANCE)
        [ours] = state["optimizer"]["state"][f"tables.{name}"].values()
        torch.testing.assert_close(ours.flatten(), sums[name].flatten(), **TOLERANCE)
        assert sums[name].count_nonzero() > 0


def unsharded(config, data):
    """The same steps with whole tables, and their optimizer apart from the backward pass: losses, tables, sums."""
    dataset = PreparedDataset.open(data)
    tables = pretrain_tables(config)
    feed = segment_feed(config, dataset, Ids(tables.item, (), config.managed_ids))
    torch.manual_seed(config.seed)
    module = build_pretrain(config, dataset.info.schema, tables, torch.device("cpu"))
    module.item_tables = embedding_collection([tables.item], torch.device("cpu"))
    named = {f"item_tables.{name}": weight for name, weight in module.item_tables.named_parameters()}
    for name, weight in named.items():
        fill_uniform(weight.data, name, config.seed, (0, 0), init_range(tables.item))
    rates, steps = config.pretrain.optimizer, config.pretrain.epochs * feed.steps_per_epoch
    kind = torch.optim.Adagrad if config.item_table.optimizer == "adagrad" else RowWiseAdagrad
    dense = [weight for weight in module.objective.parameters() if weight.requires_grad]
    optimizers = [
        kind(named.values(), lr=rates.table_lr),
        torch.optim.AdamW(dense, lr=rates.dense_lr, weight_decay=rates.weight_decay),
    ]
    factor = learning_rate_factor(rates, steps)
    schedules = [torch.optim.lr_scheduler.LambdaLR(part, factor) for part in optimizers]
    losses = []
    for batch in feed.batches(0, steps):
        fresh = batch.fresh.item  # none of hashed ids
        for name, weight in named.items():
            columns, bounds = (0, tables.item.dim), init_range(tables.item)
            weight.data[fresh] = uniform_rows(name, config.seed, fresh, columns, bounds)
            optimizers[0].state[weight]["sum"][fresh] = 0.0
        loss, _ = module(batch)
        module.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(dense, rates.gradient_clip_norm)
        for part in [*optimizers, *schedules]:
            part.step()
        losses.append(round(loss.item(), 6))
    sums = {name: optimizers[0].state[weight]["sum"] for name, weight in named.items()}
    by_step = pd.Series(losses, index=pd.RangeIndex(1, steps + 1, name="step"), name="loss")
    return by_step, {name: weight.detach() for name, weight in named.items()}, sums


ROWS = runs.CONFIG.item_table.rows


@pytest.mark.parametrize(
    ("sharding", "parts"),
    [("column_wise", [(ROWS, 8)] * 2), ("row_wise", [(ROWS // 2, 16)] * 2), ("table_wise", [(ROWS, 16)])],
)
def test_tables_are_cut_as_asked(at_two, sharding, parts):
    checkpoint = RunFolder.open(at_two / sharding).latest_checkpoint()
    tensors = FileSystemReader(checkpoint).read_metadata().state_dict_metadata
    for name in pretrain_tables(config_of(sharding)).item.sub_tables():
        chunks = tensors[f"model.item_tables.embeddings.{name}.weight"].chunks
        assert [tuple(chunk.sizes) for chunk in chunks] == parts


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_train_as_one(at_one, at_two, kind):
    assert_same(at_two / kind, at_one / kind)


@pytest.mark.parametrize("kind", KINDS)
def test_four_processes_train_as_one(at_one, at_four, kind):
    assert_same(at_four / kind, at_one / kind)


@pytest.mark.parametrize("kind", KINDS)
def test_one_process_continues_a_run_of_two(at_one, at_two, dataset, kind, tmp_path):
    run = runs.interrupted(at_two / kind, tmp_path / "run", HALF)
    train(kind, Place(data=dataset, out=run, resume=True))
    assert_same(run, at_one / kind)


@pytest.mark.parametrize("kind", KINDS)
def test_four_processes_continue_a_run_of_two(at_one, at_four, kind):
    assert_same(at_four / f"continued_{kind}", at_one / kind)


def test_a_run_goes_on_under_another_sharding(at_one, at_two, dataset, tmp_path):
    run = runs.interrupted(at_two / "table_wise", tmp_path / "run", HALF)
    pretrain(config_of("row_wise"), Place(data=dataset, out=run, resume=True))
    assert_same(run, at_one / "row_wise")
