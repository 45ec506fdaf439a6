"""The schedule, the clipping, and a loss that is no number."""

import shutil
from dataclasses import replace
from itertools import product

import numpy as np
import pyarrow.parquet as pq
import pytest
import runs
import torch
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.nn.parallel import DistributedDataParallel

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train import loop
from pinfm.train.build import build_optimizer, build_pretrain, pretrain_tables, shard
from pinfm.train.config import OptimizerConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.loop import learning_rate_factor
from pinfm.train.phases import finetune, pretrain
from pinfm.train.run_folder.place import Place

CPU = torch.device("cpu")


def schedule(decay, warmup_steps=4, total_steps=24):
    optimizer = OptimizerConfig(warmup_steps=warmup_steps, decay=decay)
    factor = learning_rate_factor(optimizer, total_steps)
    return [factor(step) for step in range(total_steps + 1)]


def test_rates_rise_linearly_and_then_stay():
    assert schedule("constant")[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert set(schedule("constant")[4:]) == {1.0}


def test_rates_fall_on_half_a_cosine_to_a_tenth():
    factors = schedule("cosine")
    assert factors[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]
    assert factors[14] == pytest.approx(0.55)
    assert factors[24] == pytest.approx(0.1)
    assert factors[4:] == sorted(factors[4:], reverse=True)


def test_without_warmup_the_first_step_has_the_full_rate():
    assert schedule("constant", warmup_steps=0)[0] == 1.0


def test_the_dense_gradient_is_clipped(group, dataset):
    data = PreparedDataset.open(dataset)
    module = build_pretrain(runs.CONFIG, data.info.schema, pretrain_tables(runs.CONFIG), CPU)
    config = replace(runs.CONFIG.pretrain.optimizer, gradient_clip_norm=0.25)
    model = shard(module, runs.CONFIG, config, {}, CPU)
    optimizer = build_optimizer(model, config)
    dense = [parameter for name, parameter in model.named_parameters() if name.startswith("objective.")]
    for parameter in dense:
        parameter.grad = torch.randn_like(parameter)
    optimizer.step()
    norm = torch.stack([parameter.grad.norm() for parameter in dense]).norm()
    assert norm.item() == pytest.approx(0.25, rel=1e-3)


def test_every_step_of_every_rank_draws_its_own_dropout(monkeypatch):
    def drawn(seed, step, rank):
        monkeypatch.setattr(loop.dist, "get_rank", lambda: rank)
        loop.seed_step(seed, step)
        return tuple(torch.rand(4).tolist())

    wheres = list(product((0, 1), repeat=3))
    assert len({drawn(*where) for where in wheres}) == len(wheres)
    assert drawn(1, 0, 1) == drawn(1, 0, 1)


def test_a_step_s_seed_is_the_one_that_torch_would_set(group):
    (own,) = np.random.SeedSequence([3, 7, 0]).generate_state(1)
    torch.manual_seed(int(own))
    expected = torch.rand(4)
    loop.seed_step(3, 7)
    assert torch.equal(torch.rand(4), expected)


def test_a_rank_alone_exchanges_no_gradient(group, dataset):
    data = PreparedDataset.open(dataset)
    module = build_pretrain(runs.CONFIG, data.info.schema, pretrain_tables(runs.CONFIG), CPU)
    model = shard(module, runs.CONFIG, runs.CONFIG.pretrain.optimizer, {}, CPU)
    assert not any(isinstance(part, DistributedDataParallel) for part in model.modules())


def test_tensorboard_forgets_what_a_resumed_run_trains_again(dataset, pretrained, tmp_path):
    run = runs.interrupted(pretrained, tmp_path / "run", 4)
    pretrain(runs.CONFIG, Place(data=dataset, out=run, resume=True))
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    assert [scalar.step for scalar in events.Scalars("loss")] == list(runs.losses(run).index)


def test_the_log_has_a_line_at_every_checkpoint(dataset, pretrained, tmp_path):
    pretrain(replace(runs.CONFIG, log_steps=3, checkpoint_steps=4), Place(data=dataset, out=tmp_path / "run"))
    losses = runs.losses(tmp_path / "run")["loss"]
    steps = losses.index
    each = runs.losses(pretrained)["loss"]
    for before, step in zip([0, *steps], steps, strict=False):
        assert losses[step] == pytest.approx(each.loc[before + 1 : step].mean(), abs=2e-5)
    assert list(steps) == [
        step for step in range(1, steps[-1] + 1) if step % 3 == 0 or step % 4 == 0 or step == steps[-1]
    ]


@pytest.mark.parametrize("verb", [pretrain, finetune])
def test_a_dataset_without_training_data_is_refused(dataset, tmp_path, verb):
    folder = shutil.copytree(dataset, tmp_path / "emptied")
    for bucket in (*folder.glob("impressions/train/*"), *folder.glob("events/*")):
        pq.write_table(pq.read_table(bucket).slice(0, 0), bucket)
    with pytest.raises(UserError, match=r"the dataset's train split is empty .*; prepare it with more data"):
        verb(runs.CONFIG, Place(data=folder, out=tmp_path / "run"))


def test_a_loss_that_is_no_number_ends_the_run(dataset, tmp_path):
    wild = replace(runs.CONFIG.pretrain.optimizer, dense_lr=1e30, table_lr=1e30, warmup_steps=0)
    phase = replace(runs.CONFIG.pretrain, optimizer=wild)
    config = replace(runs.CONFIG, pretrain=phase, log_steps=1000, checkpoint_steps=4)
    with pytest.raises(UserError, match=r"the loss is nan at step 4; lower optimizer.dense_lr or table_lr"):
        pretrain(config, Place(data=dataset, out=tmp_path / "run"))
    assert not RunFolder.open(tmp_path / "run").has_checkpoint()
