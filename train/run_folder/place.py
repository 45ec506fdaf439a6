"""Where a run reads and writes, and what must be true of it: read without torch, so that a mistake is told at once."""

from dataclasses import dataclass
from pathlib import Path

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import CHECKPOINTS, MANIFEST, RunFolder
from pinfm.train.config import RunConfig
from pinfm.train.data.info import DatasetInfo


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a run reads and writes.

    Args:
        data: the prepared dataset.
        out: the run folder.
        resume: continue from the newest checkpoint in `out`.
        pretrained: a pretraining run to start fine-tuning from.
        job: name of the launch; a run in `out` that was begun under the same name goes on, as with `resume`.
    """

    data: Path
    out: Path
    resume: bool = False
    pretrained: Path | None = None
    job: str | None = None

    def has_run(self) -> bool:
        """Whether `out` holds a run, begun or finished."""
        return (self.out / MANIFEST).exists()

    def has_checkpoint(self) -> bool:
        """Whether that run has a checkpoint to go on from."""
        return self.has_run() and RunFolder.open(self.out).has_checkpoint()

    def require_free(self) -> None:
        """Checks that a run may begin in `out`, or go on there.

        Raises:
            UserError: it holds a run already and `resume` is off, or what is left of one.
        """
        if not self.has_run() and (self.out / CHECKPOINTS).exists():
            raise UserError(
                f"{self.out} has {CHECKPOINTS} and no {MANIFEST}, so no run goes on there; "
                "put the manifest back, or give another --out."
            )
        if self.has_run() and not self.goes_on():
            raise UserError(f"{self.out} holds a run already; continue it with --resume, or give another --out.")

    def goes_on(self) -> bool:
        """Whether a run that was begun in `out` is to go on there."""
        return self.has_run() and (self.resume or self._is_own())

    def _is_own(self) -> bool:
        """Whether an earlier start of the same launch began the run."""
        return self.job is not None and RunFolder.open(self.out).manifest.get("job") == self.job


def require_pretraining(config: RunConfig, place: Place) -> None:
    """Checks that a dataset and a config can be pretrained on.

    Raises:
        UserError: there is no dataset or no tower, or `place.out` is taken.
    """
    DatasetInfo.read(place.data)
    if not config.use_tower:
        raise UserError("use_tower is false, so there is nothing to pretrain; set it to true, or only fine-tune.")
    place.require_free()


def require_finetuning(config: RunConfig, place: Place) -> None:
    """Checks that a dataset and a config can be fine-tuned on.

    Raises:
        UserError: there is no dataset or it has no tasks, config and `place.pretrained` contradict each other or it is
            no run, or `place.out` is taken.
    """
    if not DatasetInfo.read(place.data).schema.tasks:
        raise UserError(f"{place.data} has no impressions; prepare it with --impressions to fine-tune on it.")
    if config.finetune.freeze_tower and config.use_tower and place.pretrained is None:
        raise UserError("finetune.freeze_tower keeps the tower as it is, which is random; give --pretrained.")
    if place.pretrained is not None and not config.use_tower:
        raise UserError("use_tower is false, so nothing would be taken from --pretrained; leave one of them out.")
    place.require_free()
    # What goes on has everything in its own checkpoints, even where the pretraining run is gone.
    if place.pretrained is not None and not place.has_checkpoint():
        RunFolder.open(place.pretrained)
