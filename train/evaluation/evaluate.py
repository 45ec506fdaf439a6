"""`pinfm evaluate`: a run folder and a dataset in, a report out."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from pinfm.embeddings.errors import UserError, require_types
from pinfm.embeddings.sharded.too_small import DoesNotFitError
from pinfm.model.item_ages import AgeThresholds, age_thresholds
from pinfm.model.stored.run_folder import RunFolder, Which
from pinfm.model.tower import SequenceTower
from pinfm.train.build import Tables, build_finetune, shard
from pinfm.train.config import Device, RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import DatasetInfo
from pinfm.train.distributed import choose_device, process_group
from pinfm.train.evaluation.live import live_baselines
from pinfm.train.evaluation.popularity import Popularity
from pinfm.train.evaluation.predictions import Predictions, predict_split
from pinfm.train.evaluation.predictions_file import require_predictions_file, write_predictions
from pinfm.train.evaluation.retrieval import retrieval_metrics
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.feeds import request_feed
from pinfm.train.planning.uses import finetune_uses
from pinfm.train.run_folder import checkpoint
from pinfm.train.run_folder.inputs import require_same_inputs


@dataclass(frozen=True, kw_only=True)
class EvaluateOptions:
    """How a run is evaluated.

    Args:
        device: where a fine-tuned run is, wherever it was trained.
        tell_time: whether a pretrained tower with `request_time` is told when the target happens.
        checkpoint: the step of the checkpoint, the newest, or the best, see `Which`.
        predictions: a Parquet file for what a fine-tuned run says of each candidate; none is written where None.
        item_age_thresholds: of the slices by item age, such as `1h` and `4h`; the dataset's where empty.
        retrieval: whether a fine-tuned run is asked for next items too, where `finds_items`.
    """

    device: Device = "auto"
    tell_time: bool = True
    checkpoint: Which = "best"
    predictions: Path | None = None
    item_age_thresholds: tuple[str, ...] = ()
    retrieval: bool = True

    def __post_init__(self) -> None:
        require_types("", self)
        if self.item_age_thresholds:
            age_thresholds("item_age_thresholds", self.item_age_thresholds)

    def age_thresholds(self, info: DatasetInfo) -> AgeThresholds:
        """What tells young, middle-aged and old items apart."""
        return age_thresholds("item_age_thresholds", self.item_age_thresholds or info.item_age_thresholds)


DEFAULTS = EvaluateOptions()


def evaluate(
    path: Path, config: RunConfig, data: Path, split: str, options: EvaluateOptions = DEFAULTS
) -> dict[str, Any]:
    """Evaluates a run.

    Args:
        path: the run folder.
        config: the config that the run was made with.
        data: a prepared dataset with the run's vocabularies, tasks and features.
        split: `train`, `validation` or `test`.
        options: what else there is to choose.

    Returns:
        For a fine-tuned run `metrics`: {ranker: {task: metrics}}, of "model", "popularity" and `live_baselines`, and
        `reads_histories`, whether the model does. For a pretrained run, and a fine-tuned one that `finds_items`:
        `retrieval`, and `retrieval_baselines`: {ranker: metrics}.

    Raises:
        UserError: run and dataset do not fit together, the split is empty, there is no such checkpoint, or predictions
            can't be written.
    """
    run, dataset = RunFolder.open(path), PreparedDataset.open(data)
    require_same_inputs(run, dataset)
    if run.kind == "pretrain":
        if options.predictions is not None:
            raise UserError(f"{path} is a pretrained run, which predicts no task; leave --predictions out.")
        found = _retrieval(run, config, dataset, split, options)
        if not found["retrieval"]["queries"]:
            raise UserError(f"nobody with a history has a positive event in the {split} split; evaluate another split.")
        return found
    return {
        "metrics": _ranking(run, config, dataset, split, options),
        "reads_histories": config.use_tower or config.ranker.history_counts,
        **(_retrieval(run, config, dataset, split, options) if options.retrieval and finds_items(run, config) else {}),
    }


def finds_items(run: RunFolder, config: RunConfig) -> bool:
    """Whether the states of a fine-tuned run's tower were ever compared with items: in its training, or before it."""
    compared = config.finetune.next_token_weight > 0 or run.manifest.get("pretrained") is not None
    return config.use_tower and compared


def _retrieval(
    run: RunFolder, config: RunConfig, dataset: PreparedDataset, split: str, options: EvaluateOptions
) -> dict[str, Any]:
    tower = SequenceTower.from_run(run.path, run.checkpoint_at(options.checkpoint))
    rankers = retrieval_metrics(tower, dataset, split, config.max_history, options.tell_time)
    return {"retrieval": rankers.pop("model"), "retrieval_baselines": rankers}


def _ranking(
    run: RunFolder, config: RunConfig, dataset: PreparedDataset, split: str, options: EvaluateOptions
) -> dict[str, Any]:
    if options.predictions is not None:
        require_predictions_file(options.predictions, run.path, dataset.path)
    device = choose_device(options.device)
    predictions = predict_splits(run, config, dataset, (split,), device, options.checkpoint)[split]
    if options.predictions is not None:
        write_predictions(options.predictions, predictions, dataset)
    popularity = Popularity(dataset)
    rankers = {
        "model": predictions,
        "popularity": popularity.predictions(predictions),
        **live_baselines(dataset, predictions),
    }
    tasks = dataset.info.schema.tasks
    thresholds = options.age_thresholds(dataset.info)
    return {name: scored.metrics(tasks, popularity.item_id, thresholds) for name, scored in rankers.items()}


def predict_splits(
    run: RunFolder,
    config: RunConfig,
    dataset: PreparedDataset,
    splits: Sequence[str],
    device: torch.device,
    which: Which = "best",
) -> dict[str, Predictions]:
    """What a fine-tuned run says of every candidate of some splits.

    Args:
        run: the run.
        config: the config that it was made with.
        dataset: with the run's inputs; see `require_same_inputs`.
        splits: any of `train`, `validation` and `test`.
        device: where to compute.
        which: of the run's checkpoints.

    Raises:
        UserError: a split is empty, the tables do not fit the device, or there are several processes.
    """
    tables = Tables(item=run.item_table, features=run.feature_tables)
    with process_group(device) as group:
        if group.size() > 1:
            raise UserError("evaluate runs in one process; start it without torchrun or torchx.")
        ids = Ids(tables.item, tables.features, config.managed_ids)
        feeds = {split: request_feed(config, dataset, ids, split, training=False) for split in splits}
        for split, feed in feeds.items():
            if not feed.steps_per_epoch:
                raise UserError(f"the {split} split has no requests; evaluate another split.")
        module = build_finetune(config, run.schema, tables, device)
        uses = finetune_uses(config, tables, 1, dataset.info)
        try:
            model = shard(module, config, config.finetune.optimizer, uses, device)
        except DoesNotFitError as error:
            mend = "evaluate with --device cpu, or" if device.type == "cuda" else "evaluate"
            raise UserError(f"{error.short}; {mend} on a machine with more memory.") from error
        checkpoint.load_model(model, ids, run, which)
        return {split: predict_split(model, feed, device) for split, feed in feeds.items()}
