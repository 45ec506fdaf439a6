"""The two training phases, from a prepared dataset to a run folder."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
import torch.distributed as dist

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.id_map import probed_map
from pinfm.model.stored.run_folder import NEWEST_REQUESTS, REQUESTS, RunFolder
from pinfm.train.build import (
    Tables,
    build_finetune,
    build_optimizer,
    build_pretrain,
    finetune_tables,
    pretrain_tables,
    shard,
)
from pinfm.train.config import FinetuneConfig, PretrainConfig, RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import DatasetInfo
from pinfm.train.distributed import by_first_rank, choose_device, is_first_rank, process_group
from pinfm.train.hints import tell_pretrained, tell_start
from pinfm.train.ids.maps import Ids
from pinfm.train.ids.reset import RowReset
from pinfm.train.ids.starts import ItemStarts
from pinfm.train.loader.arrays import RequestArrays
from pinfm.train.loader.feed import Feed
from pinfm.train.loader.feeds import held_out_feed, request_feed, segment_feed
from pinfm.train.loop import LoopConfig, goes_on, train
from pinfm.train.planning.uses import finetune_uses, pretrain_uses
from pinfm.train.run_folder import checkpoint
from pinfm.train.run_folder.head_start import load_head_start
from pinfm.train.run_folder.inputs import require_same_inputs
from pinfm.train.run_folder.lock import only_run
from pinfm.train.run_folder.manifest import note_resume, require_same_run, write_manifest
from pinfm.train.run_folder.metrics_log import logged_lines
from pinfm.train.run_folder.parity import write_parity_requests
from pinfm.train.run_folder.place import Place, require_finetuning, require_pretraining
from pinfm.train.run_folder.pretrained import require_compatible
from pinfm.train.validation.ranking import ranking_measure
from pinfm.train.validation.retrieval import retrieval_measure
from pinfm.train.validation.validation import Measure, Validation, nothing_yet


def pretrain(config: RunConfig, place: Place) -> dict[str, float]:
    """Self-supervised pretraining of item tables and tower.

    Returns:
        The last logged metrics.

    Raises:
        UserError: `place.out` holds a run already and `resume` is off, or the dataset has nothing to train on.
    """
    require_pretraining(config, place)
    dataset = PreparedDataset.open(place.data)
    config = config.with_item_ages(dataset.info.item_age_thresholds)
    with started(config, place) as device:
        schema, tables = dataset.info.schema, pretrain_tables(config)
        ids = trainable_ids(tables, config, dataset)
        feed = segment_feed(config, dataset, ids)
        model = shard(
            build_pretrain(config, schema, tables, device),
            config,
            config.pretrain.optimizer,
            pretrain_uses(config, tables, dist.get_world_size(), dataset.info),
            device,
        )
        optimizer = build_optimizer(model, config.pretrain.optimizer)
        validated = nothing_yet(config.pretrain.validation)
        measure = None if validated is None else retrieval_measure(config, dataset, ids, model, device)
        state = checkpoint.TrainState(model=model, optimizer=optimizer, ids=ids, validated=validated)
        begin(place, state, "pretrain", config, dataset, tables)
        return run_loop(state, feed, place.out, device, config, config.pretrain, dataset, measure)


def finetune(config: RunConfig, place: Place, *, keep_requests: bool = True) -> dict[str, float]:
    """Joint training of tower and ranker, or of the ranker alone where `use_tower` is false.

    Args:
        config: the run's settings.
        place: where it reads and writes.
        keep_requests: write the requests that an export is checked against; a run without them can't be exported.

    Returns:
        The last logged metrics.

    Raises:
        UserError: `place.out` holds a run already and `resume` is off, the dataset has no tasks, or the pretrained
            tower does not fit.
    """
    require_finetuning(config, place)
    dataset = PreparedDataset.open(place.data)
    config = config.with_item_ages(dataset.info.item_age_thresholds)
    with started(config, place) as device:
        schema = dataset.info.schema
        optimizer = config.finetune.optimizer
        if place.pretrained is None:
            # Nothing is pretrained, so nothing has to be handled gently.
            optimizer = replace(optimizer, pretrained_lr_scale=1.0)
        tables = finetune_tables(config, schema, dataset.info.counts.users)
        ids = trainable_ids(tables, config, dataset)
        feed = request_feed(config, dataset, ids, "train", training=True)
        model = shard(
            build_finetune(config, schema, tables, device),
            config,
            optimizer,
            finetune_uses(config, tables, dist.get_world_size(), dataset.info),
            device,
        )
        # What goes on has everything in its own checkpoints, even where the pretraining run is gone.
        if place.pretrained is not None and not place.has_checkpoint():
            pretrained = RunFolder.open(place.pretrained)
            require_compatible(pretrained, config.tower, tables.item, schema, config.managed_ids)
            if is_first_rank():
                tell_pretrained(pretrained)
            checkpoint.load_pretrained(model, ids, pretrained, config.finetune.pretrained_sums_scale)
            if config.ranker.tower_path:
                load_head_start(model, pretrained, schema)
        validated = nothing_yet(config.finetune.validation)
        measure = None if validated is None else ranking_measure(config, dataset, ids, model, device)
        state = checkpoint.TrainState(
            model=model, optimizer=build_optimizer(model, optimizer), ids=ids, validated=validated
        )
        begin(place, state, "finetune", config, dataset, tables)
        metrics = run_loop(state, feed, place.out, device, config, config.finetune, dataset, measure)
        if keep_requests:
            _keep_requests(state, held_out_feed(config, dataset, ids), dataset, place.out)
        return metrics


def trainable_ids(tables: Tables, config: RunConfig, dataset: PreparedDataset) -> Ids:
    """The maps of a run, which change; where nothing has to be seen first, filled with the dataset's items.

    Raises:
        UserError: they can't on this machine.
    """
    ids = Ids(tables.item, tables.features, config.managed_ids)
    if ids.managed and config.managed_ids.map == "mpzch":
        probed_map.require_gpu()
    if config.item_table.ids == "managed" and config.managed_ids.min_count == 0:
        known = dataset.known_items()
        ids.admit_items(known, dataset.item_attributes.event_count(known))
    return ids


@contextmanager
def started(config: RunConfig, place: Place) -> Iterator[torch.device]:
    """Joins the process group, takes the run folder for this run alone, and seeds this rank."""
    device = choose_device(config.device)
    with process_group(device), ExitStack() as held:

        def take() -> None:
            held.enter_context(only_run(place.out))
            place.require_free()

        by_first_rank(take)
        torch.manual_seed(config.seed)
        yield device


def begin(
    place: Place, state: checkpoint.TrainState, kind: str, config: RunConfig, dataset: PreparedDataset, tables: Tables
) -> None:
    """Continues an earlier run, or writes the manifest of a new one."""
    origin: dict[str, Any] = {
        "data": str(place.data),
        "dataset": {
            "source": dataset.info.source,
            "counts": asdict(dataset.info.counts),
            "splits": dataset.info.splits,
            **_held_out_by_place(dataset.info),
            "num_buckets": dataset.info.num_buckets,
            "positive_actions": dataset.info.schema.positive_actions,
        },
        "pretrained": None if place.pretrained is None else str(place.pretrained),
        "processes": dist.get_world_size(),
        "job": place.job,
    }
    if place.has_run():
        run = RunFolder.open(place.out)
        require_same_run(run, kind, config, origin)
        require_same_inputs(run, dataset)
        logged_lines(place.out)  # by every rank, before anything is changed
        if run.has_checkpoint():
            checkpoint.resume(state, run)
            return
    by_first_rank(lambda: write_manifest(place.out, kind, config, dataset.info.schema, tables, origin))


def _held_out_by_place(info: DatasetInfo) -> dict[str, Any]:
    """What the manifest says in place of bounds in time."""
    return {} if info.split_last is None else {"split_last": info.split_last, "time_span": info.time_span}


def run_loop(
    state: checkpoint.TrainState,
    feed: Feed[Any],
    out: Path,
    device: torch.device,
    config: RunConfig,
    phase: PretrainConfig | FinetuneConfig,
    dataset: PreparedDataset,
    measure: Measure | None,
) -> dict[str, float]:
    """Trains for the phase's epochs, or until its validation ends it.

    Raises:
        UserError: there is nothing to train on, or the run was trained for longer already.
    """
    total_steps = phase.epochs * feed.steps_per_epoch
    if not total_steps:
        raise UserError(
            "the dataset's train split is empty (pretraining needs users with two events); prepare it with more data, "
            "or with other split dates."
        )
    if state.step > total_steps:
        raise UserError(
            f"{out} was trained for {state.step} steps, and {phase.epochs} epoch(s) are {total_steps}; "
            f"resume it with at least {-(-state.step // feed.steps_per_epoch)} epochs."
        )
    validation = None
    if measure is not None:
        validation = Validation(
            measure=measure,
            config=phase.validation,
            steps_per_epoch=feed.steps_per_epoch,
            total_steps=total_steps,
        )
    trains = goes_on(state, total_steps, validation)
    if trains and state.step:
        by_first_rank(lambda: _go_on(out, config, state.step))
    if trains and is_first_rank():
        tell_start(config, phase, feed.steps_per_epoch, state.step, dataset.info.counts.items)
    loop = LoopConfig(
        total_steps=total_steps,
        examples_per_step=phase.batch_size,
        log_steps=config.log_steps,
        checkpoint_steps=config.checkpoint_steps,
        precision=config.precision,
        seed=config.seed,
        optimizer=phase.optimizer,
    )
    reset = RowReset(state.model, state.ids, config.seed, item_starts(config, dataset))
    return train(state, feed.batches(state.step, total_steps), out, device, loop, reset, validation)


def _keep_requests(
    state: checkpoint.TrainState, feed: Feed[RequestArrays], dataset: PreparedDataset, out: Path
) -> None:
    """Writes requests with the answers of the newest checkpoint, and with those of the best where that is another."""
    best = None if state.validated is None else state.validated.best
    if best is None or best[0] == state.step:
        write_parity_requests(state.model, feed, dataset, out / REQUESTS)
        by_first_rank(lambda: (out / NEWEST_REQUESTS).unlink(missing_ok=True))
    else:
        write_parity_requests(state.model, feed, dataset, out / NEWEST_REQUESTS)
        checkpoint.load_model(state.model, state.ids, RunFolder.open(out), best[0])
        write_parity_requests(state.model, feed, dataset, out / REQUESTS)


def _go_on(out: Path, config: RunConfig, step: int) -> None:
    note_resume(RunFolder.open(out), config, step, dist.get_world_size())
    # They would answer for an older model.
    for name in (REQUESTS, NEWEST_REQUESTS):
        (out / name).unlink(missing_ok=True)


def item_starts(config: RunConfig, dataset: PreparedDataset) -> ItemStarts | None:
    """What rows of newly admitted items start from; None where item ids are hashed, or `new_items` is `init`."""
    if config.item_table.ids != "managed" or config.managed_ids.new_items == "init":
        return None
    return ItemStarts(dataset, use_content=config.managed_ids.new_items == "content")
