"""What a run folder says about its model, read with the standard library alone.

RUN/manifest.json             kind, config, schema and tables, beside what made them
RUN/requests.parquet          real requests with the finished run's own answers, of its best checkpoint
RUN/requests-newest.parquet   the same of its newest, where that is another
RUN/checkpoints/step-*/tables.json    the id tables that it was written with
RUN/checkpoints/step-*/sums.json      size and CRC-32 of each of its files
RUN/checkpoints/step-*/validation.json    the evaluations until then, of a run that evaluates while it trains
RUN/checkpoints/step-*/       torch.distributed.checkpoint; names below `model.` in every kind of run:
                              item_tables.embeddings.item_0.weight, feature_tables.embeddings...,
                              objective.model.encoder..., objective.model.ranker...

What a checkpoint holds is read in `weights.py`, which needs torch: the command line opens runs without it, so that a
wrong path is told at once.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from pinfm.embeddings.errors import UserError, require_choice
from pinfm.embeddings.specs import IdTable
from pinfm.model.config import ColdStartConfig, ModelConfig, RankerConfig, TowerConfig
from pinfm.model.schema import InputSchema, schema_from_json
from pinfm.model.stored.older import cold_start_of_today, ranker_of_today
from pinfm.model.stored.validated import VALIDATION, Validated

# What a training module calls its collections of tables, and so what their tensors' names begin with.
ITEM_TABLES, FEATURE_TABLES = "item_tables", "feature_tables"

MANIFEST = "manifest.json"
CHECKPOINTS = "checkpoints"
TABLES = "tables.json"
# Of torch.distributed.checkpoint, which writes it last.
METADATA = ".metadata"
REQUESTS, NEWEST_REQUESTS = "requests.parquet", "requests-newest.parquet"

RunKind = Literal["pretrain", "finetune"]
# A checkpoint of a run: that of a step, or the newest, or the best on validation, which is the newest of a run that was
# not evaluated while it trained.
Named = Literal["best", "newest"]
Which = int | Named


@dataclass(frozen=True, kw_only=True)
class RunFolder:
    """A finished or running training run.

    Args:
        path: the folder.
        kind: `pretrain` or `finetune`.
        model: how the dense part is built.
        schema: its inputs and tasks.
        item_table: the item id table.
        feature_tables: the user id's table and one per categorical feature; empty in a pretraining run.
        manifest: the whole manifest.
    """

    path: Path
    kind: str
    model: ModelConfig
    schema: InputSchema
    item_table: IdTable
    feature_tables: tuple[IdTable, ...]
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, path: str | Path) -> "RunFolder":
        """Reads the manifest.

        Raises:
            UserError: `path` is no run folder.
        """
        manifest_path = Path(path) / MANIFEST
        if not manifest_path.is_file():
            raise UserError(
                f"{path} is not a run folder: it has no {MANIFEST}; give the --out of `pinfm pretrain` or `finetune`."
            )
        try:
            manifest = json.loads(manifest_path.read_text(errors="replace"))
            item_table, feature_tables = tables_from_json(manifest["tables"])
            require_choice("kind", manifest["kind"], RunKind)
            return cls(
                path=Path(path),
                kind=manifest["kind"],
                model=model_config_from_json(manifest["config"]),
                schema=schema_from_json(manifest["schema"]),
                item_table=item_table,
                feature_tables=feature_tables,
                manifest=manifest,
            )
        except UserError as error:
            raise UserError(f"{manifest_path}: {error}") from error
        except (ValueError, LookupError, TypeError, AttributeError) as error:  # whatever someone made of it by hand
            raise UserError(
                f"{manifest_path} is not that of a run of this version; "
                "give the --out of `pinfm pretrain` or `finetune`."
            ) from error

    def has_checkpoint(self) -> bool:
        """Whether one is written."""
        return bool(self.checkpoints())

    def latest_checkpoint(self) -> Path:
        """The newest checkpoint.

        Raises:
            UserError: the run has none yet, or it is another run's.
        """
        if not self.has_checkpoint():
            raise UserError(f"{self.path} has no checkpoint yet; let the run finish, or lower its checkpoint_steps.")
        return self.checked(self.checkpoints()[-1])

    def checkpoint_at(self, which: Which) -> Path:
        """A checkpoint.

        Args:
            which: see `Which`.

        Raises:
            UserError: the run has none such, or it is another run's.
        """
        if isinstance(which, int):
            return self.checkpoint_of(which)
        require_choice("checkpoint", which, Named)
        found = self.validated() if which == "best" else None
        return self.latest_checkpoint() if found is None or found.best is None else self.checkpoint_of(found.best[0])

    def validated(self) -> Validated | None:
        """What the run's evaluations have found until its newest checkpoint; None where it had none.

        Raises:
            UserError: the run has no checkpoint yet, or its newest can't be read.
        """
        newest = self.latest_checkpoint()
        if not (newest / VALIDATION).is_file():
            return None
        try:
            return Validated.from_json(json.loads((newest / VALIDATION).read_text()))
        except (OSError, ValueError, LookupError, TypeError) as error:
            raise unreadable(newest, error) from error

    def requests(self, which: Named) -> Path:
        """The file of real requests with the answers of a checkpoint; it is there once the run has finished."""
        newest = self.path / NEWEST_REQUESTS
        return newest if which == "newest" and newest.is_file() else self.path / REQUESTS

    def checkpoint_of(self, step: int) -> Path:
        """The checkpoint of a step.

        Raises:
            UserError: the run has none of that step, or it is another run's.
        """
        there = {int(path.name.removeprefix("step-")): path for path in self.checkpoints()}
        if step not in there:
            told = f"it has those of steps {', '.join(map(str, there))}" if there else "it has none yet"
            raise UserError(f"{self.path} has no checkpoint of step {step}; {told}.")
        return self.checked(there[step])

    def checked(self, checkpoint: Path) -> Path:
        """A checkpoint whose tables are the manifest's; under another hash its rows would be other items'.

        Raises:
            UserError: they are not, or the checkpoint does not say, or is not whole.
        """
        if not (checkpoint / METADATA).is_file():
            raise UserError(
                f"{checkpoint} is not whole (it has no {METADATA}); "
                "move it away to fall back on an earlier one, or train again."
            )
        written = checkpoint / TABLES
        if not written.is_file():
            raise UserError(
                f"{checkpoint} has no {TABLES}, which says what id tables it holds; copy it whole, or train again."
            )
        try:
            tables = tables_from_json(json.loads(written.read_text()))
        except (OSError, ValueError, LookupError, TypeError, AttributeError) as error:
            raise unreadable(checkpoint, error) from error
        if tables != (self.item_table, self.feature_tables):
            raise UserError(
                f"{checkpoint} was written with other id tables than {self.path / MANIFEST} says ({TABLES} holds their "
                "sizes and seeds); put the manifest of its own run beside it, or train again."
            )
        return checkpoint

    def checkpoints(self) -> list[Path]:
        """All checkpoints, oldest first."""
        return sorted((self.path / CHECKPOINTS).glob("step-*"))


def tables_to_json(item: IdTable, features: Sequence[IdTable]) -> dict[str, Any]:
    """As manifest and checkpoints hold the tables of a run."""
    return {"item": asdict(item), "features": [asdict(table) for table in features]}


def tables_from_json(tables: Mapping[str, Any]) -> tuple[IdTable, tuple[IdTable, ...]]:
    """The item table and the feature tables."""
    return IdTable(**tables["item"]), tuple(IdTable(**table) for table in tables["features"])


def unreadable(checkpoint: Path, error: BaseException) -> UserError:
    """What is told of a torn or foreign checkpoint."""
    return UserError(
        f"{checkpoint} can't be read ({last_line(error)}); move it away to fall back on an earlier one, or train again."
    )


def last_line(error: BaseException) -> str:
    """What torch says at the end of it, or what it is."""
    return (str(error).strip().splitlines() or [type(error).__name__])[-1]


def model_config_from_json(config: Mapping[str, Any]) -> ModelConfig:
    """The model's part of a run's config, from its JSON form."""
    ranker = ranker_of_today(config["ranker"])
    for name in ("dense_hidden", "over_hidden"):
        ranker[name] = tuple(ranker[name])
    cold_start = cold_start_of_today(config["cold_start"])
    cold_start["item_age_thresholds"] = tuple(cold_start.get("item_age_thresholds", ()))
    return ModelConfig(
        tower=TowerConfig(**config["tower"]),
        cold_start=ColdStartConfig(**cold_start),
        ranker=RankerConfig(**ranker),
        use_tower=config["use_tower"],
    )
