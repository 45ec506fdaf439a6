"""FuxiCTR's models and trainer, from a checkout that is no part of this project.

N  rows of a batch
"""

import importlib
import subprocess
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from benchmarks.parts.peers.flat import FEATURE_MAP, FILES
from pinfm.embeddings.errors import UserError

Batch = dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class Budget:
    """What both sides of a comparison have in common.

    Args:
        embedding_dim: width of a column's vector.
        hidden: widths of the MLP behind the interaction, or beside it where the model has it there.
        batch_size: rows.
        learning_rate: of Adam.
        epochs: over the training split; the best by validation AUC is tested.
    """

    embedding_dim: int = 16
    hidden: tuple[int, ...] = (128, 64)
    batch_size: int = 1024
    learning_rate: float = 1e-3
    epochs: int = 1


class Rows:
    """Batches of one split, as their trainer iterates over them.

    Their own loader shuffles by torch's global generator, which building a model has moved on by then: two models would
    see two orders.

    Args:
        values: (rows, columns) codes, the label last.
        names: of the columns.
        batch_size: rows of a batch.
        seed: of the shuffle; in the order of the file where None.
    """

    def __init__(self, values: Tensor, names: list[str], batch_size: int, seed: int | None = None) -> None:
        self.values, self.names, self.batch_size = values, names, batch_size
        self.generator = None if seed is None else torch.Generator().manual_seed(seed)

    def __len__(self) -> int:
        return -(-len(self.values) // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        rows = torch.arange(len(self.values))
        if self.generator is not None:
            rows = torch.randperm(len(self.values), generator=self.generator)
        for chosen in rows.split(self.batch_size):
            yield dict(zip(self.names, self.values[chosen].unbind(1), strict=True))


class FuxiCTR:
    """A checkout of FuxiCTR, and the files that both sides read.

    Args:
        checkout: the repository.
        flat: a folder of `write_flat`.
        budget: widths and settings of the training.
    """

    def __init__(self, checkout: Path, flat: Path, budget: Budget) -> None:
        self.checkout, self.flat, self.budget = checkout, flat, budget
        self._import("fuxictr")
        self.feature_map = self._import("fuxictr.features").FeatureMap(flat.name, str(flat))
        self.feature_map.load(str(flat / FEATURE_MAP), {"embedding_dim": budget.embedding_dim})
        self.names = [*self.feature_map.features, *self.feature_map.labels]
        read = self._import("fuxictr.pytorch.dataloaders.parquet_dataloader").ParquetDataset
        self.splits = {
            split: torch.from_numpy(read(self.feature_map, str(flat / f"{file}.parquet")).darray)
            for split, file in FILES.items()
        }

    def rows(self, split: str, seed: int | None = None) -> Rows:
        """Batches of a split, shuffled where a seed is given."""
        return Rows(self.splits[split], self.names, self.budget.batch_size, seed)

    def model(self, model: str, settings: Mapping[str, Any], scratch: Path) -> nn.Module:
        """A model of its zoo, initialised by torch's generator as it stands.

        Args:
            model: FOLDER.CLASS of `model_zoo`.
            settings: arguments of the class beside the budget's.
            scratch: where its trainer keeps its best weights.
        """
        folder, name = model.split(".")
        (scratch / self.feature_map.dataset_id).mkdir(parents=True, exist_ok=True)
        built: nn.Module = getattr(self._import(f"model_zoo.{folder}.src.{folder}"), name)(
            self.feature_map,
            model_id=name,
            model_root=str(scratch),
            gpu=-1,
            verbose=0,
            task="binary_classification",
            metrics=["AUC", "logloss"],
            monitor="AUC",
            embedding_dim=self.budget.embedding_dim,
            optimizer="adam",
            loss="binary_crossentropy",
            learning_rate=self.budget.learning_rate,
            **settings,
        )
        return built

    def tested(self, model: nn.Module, seed: int) -> dict[str, float]:
        """Trains a model by FuxiCTR's trainer and returns its test AUC and log loss."""
        train = self.rows("train", seed)
        model.fit(train, epochs=self.budget.epochs, validation_data=self.rows("validation"))
        return {name: float(value) for name, value in model.evaluate(self.rows("test")).items()}

    def revision(self) -> str:
        """The commit of the checkout.

        Raises:
            UserError: it is no git repository.
        """
        command = ["git", "-C", str(self.checkout), "rev-parse", "HEAD"]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        if found.returncode:
            raise UserError(f"{self.checkout} is no clone of FuxiCTR (git: {found.stderr.strip()}); clone it with git.")
        return found.stdout.strip()

    def _import(self, name: str) -> Any:
        # A checkout is no installed package, and its wheel lacks the model zoo.
        if str(self.checkout) not in sys.path:
            sys.path.append(str(self.checkout))
        try:
            return importlib.import_module(name)
        except ModuleNotFoundError as error:
            raise UserError(
                f"{name} of {self.checkout} can't be imported: {error}; see benchmarks/fuxictr.py."
            ) from error
