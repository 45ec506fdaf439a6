"""What is worth knowing before the first step of a run: its length, and settings that do not fit the data."""

import sys
from collections.abc import Iterator

from pinfm.embeddings.specs import ItemTableConfig
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.config import FinetuneConfig, PretrainConfig, RunConfig

# Items a row, beyond which they crowd it (docs/scale.md, "How many hashes, how many rows").
CROWDED = 2.0


def tell_start(
    config: RunConfig, phase: PretrainConfig | FinetuneConfig, steps_per_epoch: int, done: int, num_items: int
) -> None:
    """Prints the length of the run and the hints to stderr, above the progress bar.

    Args:
        config: of the run.
        phase: its part for this phase.
        steps_per_epoch: that the data have.
        done: steps of an earlier start.
        num_items: in the dataset's catalogue.
    """
    name = "pretrain" if isinstance(phase, PretrainConfig) else "finetune"
    rest = f", of which {done:,} are done" if done else ""
    total = phase.epochs * steps_per_epoch
    examples = f"{phase.batch_size:,} {'segments' if name == 'pretrain' else 'requests'} a step"
    print(f"{name}: {total:,} steps, {phase.epochs} epoch(s) of {steps_per_epoch:,}, {examples}{rest}", file=sys.stderr)
    for hint in (
        *warmup_hints(f"--{name}.optimizer.warmup_steps", phase.optimizer.warmup_steps, total),
        *row_hints(config.item_table, num_items),
    ):
        print(f"pinfm: warning: {hint}", file=sys.stderr)


def tell_pretrained(run: RunFolder) -> None:
    """Prints to stderr from which step of a pretraining run fine-tuning starts, where that is not plainly its last."""
    found = run.validated()
    if found is not None and found.best is not None:
        print(f"finetune: starts from {run.path}, {found.told()}", file=sys.stderr)


def warmup_hints(field: str, warmup_steps: int, total_steps: int) -> Iterator[str]:
    """Says where the learning rate never gets to its full value."""
    if warmup_steps >= total_steps:
        yield (
            f"{field} ({warmup_steps:,}) is not below the run's {total_steps:,} steps, so the learning rate is still "
            "rising when the run ends; lower it, or train for more epochs."
        )


def row_hints(table: ItemTableConfig, num_items: int) -> Iterator[str]:
    """Says where far more items than rows share a table."""
    if num_items > CROWDED * table.rows:
        crowd = (
            f"at most {table.rows / num_items:.0%} of them have a row at a time"
            if table.ids == "managed"
            else f"{num_items / table.rows:.1f} of them share each row"
        )
        yield (
            f"--item_table.rows ({table.rows:,}) is far below the catalogue's {num_items:,} items, so {crowd}; "
            "raise it where memory allows (docs/scale.md)."
        )
