"""A fine-tuned model in training on a sample of the validation requests."""

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torchrec.distributed.model_parallel import DistributedModelParallel

from pinfm.embeddings.errors import UserError
from pinfm.train.config import RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.distributed import gather_objects
from pinfm.train.ids.maps import Ids
from pinfm.train.loader.arrays import RequestArrays
from pinfm.train.loader.feed import Feed
from pinfm.train.loader.feeds import sampled_request_feed
from pinfm.train.metrics.inputs import check_tasks
from pinfm.train.metrics.ranking import auc, entropy_metrics, grouped_auc
from pinfm.train.run_folder.parity import predict
from pinfm.train.validation.validation import Measure


def ranking_measure(
    config: RunConfig, dataset: PreparedDataset, ids: Ids, model: DistributedModelParallel, device: torch.device
) -> Measure:
    """Evaluates a model that is being fine-tuned.

    Args:
        config: of the run.
        dataset: whose validation split is read.
        ids: the maps of the run.
        model: the sharded module.
        device: of this rank.

    Raises:
        UserError: the split is empty. By the returned function: no task of the sample has the metric.
    """
    tasks, metric = dataset.info.schema.tasks, config.finetune.validation.metric
    feed = sampled_request_feed(config, dataset, ids, "validation")
    if not feed.steps_per_epoch:
        raise UserError(
            "the validation split has no requests, which finetune.validation asks for; prepare the dataset with a "
            "longer one, or set finetune.validation.per_epoch to 0."
        )
    steps = min(feed.steps_per_epoch, -(-config.finetune.validation.requests // config.finetune.batch_size))

    def measure() -> dict[str, float]:
        by_task = task_metrics(*_predicted(model, feed, steps, device), tasks)
        found = {name: _mean([of[name] for of in by_task.values()]) for name in next(iter(by_task.values()))}
        if math.isnan(found[metric]):
            raise UserError(
                f"no task has {metric} on the {config.finetune.validation.requests:,} validation requests of "
                "finetune.validation.requests, as where all labels are the same; raise that, or choose another metric."
            )
        return found | {f"{task}/{metric}": of[metric] for task, of in by_task.items()}

    return measure


def task_metrics(p_NK: Tensor, y_NK: Tensor, request_N: Tensor, tasks: Sequence[str]) -> dict[str, dict[str, float]]:
    """What `FinetuneValidation.metric` may name, of each task; NaN where undefined.

    Args:
        p_NK: (N, tasks) probabilities.
        y_NK: (N, tasks) bool labels.
        request_N: int64, equal for the candidates of one request.
        tasks: names of the columns.

    Raises:
        UserError: a probability is NaN.
    """
    checked = check_tasks(dict(zip(tasks, p_NK.T, strict=True)), dict(zip(tasks, y_NK.T, strict=True)), len(request_N))
    return {
        task: {
            "auc": auc(p_N, y_N),
            "request_auc": grouped_auc(p_N, y_N, request_N)["gauc"],
            **entropy_metrics(p_N, y_N),
        }
        for task, (p_N, y_N) in checked.items()
    }


def _predicted(
    model: DistributedModelParallel, feed: Feed[RequestArrays], steps: int, device: torch.device
) -> tuple[Tensor, Tensor, Tensor]:
    """Probabilities, labels and requests of all ranks' candidates."""
    probabilities, labels, requests = [], [], []
    for arrays in feed.arrays(0, steps):
        probabilities.append(predict(model, feed.collate(arrays), device))
        labels.append(arrays.labels > 0.5)
        requests.append(np.repeat(arrays.request_id, arrays.candidate_lengths))
    own = tuple(np.concatenate(parts) for parts in (probabilities, labels, requests))
    p_NK, y_NK, request_N = (np.concatenate(parts) for parts in zip(*gather_objects(own), strict=True))
    return torch.from_numpy(p_NK), torch.from_numpy(y_NK), torch.from_numpy(request_N)


def _mean(values: Sequence[float]) -> float:
    """Of those that are defined; labels do not change, so they are the same in every evaluation of a run."""
    defined = [value for value in values if not math.isnan(value)]
    return math.fsum(defined) / len(defined) if defined else math.nan
