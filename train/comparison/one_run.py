"""One training run of a form, and its figures."""

import json
import statistics
from pathlib import Path
from typing import Any

import numpy as np
import torch

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.build import Tables, build_finetune
from pinfm.train.config import RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.info import DatasetInfo
from pinfm.train.distributed import choose_device
from pinfm.train.evaluation.evaluate import predict_splits
from pinfm.train.memory import process_mib
from pinfm.train.run_folder.metrics_log import METRICS
from pinfm.train.run_folder.place import Place

# Of every task; see pinfm.train.metrics.
KEPT = ("auc", "gauc", "request_auc", "ne", "logloss", "hit3", "hit3_hard", "mrr", "impressions", "positives")
# The name under which a run that was interrupted goes on.
JOB = "comparison"
MIB = 1 << 20


def evaluate(config: RunConfig, place: Place, splits: tuple[str, ...]) -> dict[str, Any]:
    """Split -> task -> metrics of a run's best checkpoint."""
    dataset = PreparedDataset.open(place.data)
    predictions = predict_splits(RunFolder.open(place.out), config, dataset, splits, choose_device(config.device))
    nothing_seen = np.zeros(0, dtype=np.int64)  # of the slices by age, which are not kept
    return {
        split: {
            task: {name: metrics[name] for name in KEPT}
            for task, metrics in of_split.metrics(dataset.info.schema.tasks, nothing_seen).items()
        }
        for split, of_split in predictions.items()
    }


def candidates_per_second(run: Path, data: Path) -> float:
    """Candidates that training took a second: the median over the lines of metrics.jsonl after the first."""
    rates = [json.loads(line)["examples_per_s"] for line in (run / METRICS).read_text().splitlines()]
    counts = DatasetInfo.read(data).counts
    median: float = statistics.median(rates[1:] or rates)
    return median * counts.impressions["train"] / counts.requests["train"]


def num_parameters(config: RunConfig, run: RunFolder) -> dict[str, int]:
    """Weights of everything but the tables, and of the interaction alone."""
    tables = Tables(item=run.item_table, features=run.feature_tables)
    module = build_finetune(config, run.schema, tables, torch.device("cpu"))
    model = module.objective.model
    ranker = model.ranker
    return {
        "dense": sum(weight.numel() for weight in model.parameters()),
        "interaction": sum(weight.numel() for weight in ranker.interaction_arch.parameters()),
    }


class Memory:
    """The most memory that training held above what the process held before it.

    That of the process on a CPU; that of tensors on a GPU.

    Args:
        device: where training computes.
    """

    def __init__(self, device: torch.device) -> None:
        self._cuda = device.type == "cuda"
        self.floor_mib = 0.0 if self._cuda else process_mib("VmRSS")

    def peak_mib(self) -> float:
        """Above the floor, up to now."""
        held = torch.cuda.max_memory_allocated() / MIB if self._cuda else process_mib("VmHWM")
        return held - self.floor_mib
