"""What training tells while it runs: metrics.jsonl, TensorBoard and the progress bar."""

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import torch
import torch.distributed as dist
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm import tqdm

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.whole import write_whole
from pinfm.train.distributed import is_first_rank

METRICS = "metrics.jsonl"


class MetricsLog:
    """metrics.jsonl, TensorBoard and the progress bar; only the first rank writes.

    Args:
        run: the run folder.
        start_step: steps done before; what an interrupted run logged of later ones is trained again.
        total_steps: of the whole run.
        examples_per_step: over all ranks, for the progress bar.
        log_steps: steps between lines.
    """

    def __init__(self, run: Path, start_step: int, *, total_steps: int, examples_per_step: int, log_steps: int) -> None:
        self._examples_per_step, self._log_steps = examples_per_step, log_steps
        self.last: dict[str, float] = {}
        self._sums: dict[str, Tensor] = {}
        self._count, self._since = 0, time.perf_counter()
        self._writer = SummaryWriter(run / "tensorboard", purge_step=start_step + 1) if is_first_rank() else None
        self._file = _continued(run, start_step) if is_first_rank() else None
        self._bar = tqdm(
            total=total_steps * examples_per_step,
            initial=start_step * examples_per_step,
            unit="ex",
            unit_scale=True,
            disable=None if is_first_rank() else True,
        )

    def __enter__(self) -> "MetricsLog":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bar.close()
        if self._file is not None and self._writer is not None:
            self._file.close()
            self._writer.close()

    @contextmanager
    def paused(self) -> Iterator[None]:
        """What is done meanwhile is no training, and does not count in its speed."""
        start = time.perf_counter()
        yield
        self._since += time.perf_counter() - start

    def add(
        self,
        step: int,
        values: dict[str, Tensor],
        totals: Callable[[], dict[str, float]],
        *,
        found: Mapping[str, float],
        saves: bool,
    ) -> None:
        """Adds a step's scalars; now and then writes their means over steps and ranks, and the totals as they are.

        It does so every `log_steps`, after each evaluation, and before each checkpoint, which must not be of a loss
        that is no number.

        Args:
            step: that was done.
            values: of the step; all but scalars are left out.
            totals: tells what is so after the step, the same on every rank; asked when it is written.
            found: by an evaluation after the step; empty where there was none. What is NaN is left out.
            saves: whether a checkpoint follows: a run that goes on from it has every line up to it.
        """
        for name, value in values.items():
            if value.dim() == 0:
                self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
        self._count += 1
        self._bar.update(self._examples_per_step)
        if step % self._log_steps == 0 or saves or found:
            numbers = {name: value for name, value in found.items() if not math.isnan(value)}
            self._write(step, totals() | numbers)
        if saves and self._file is not None and self._writer is not None:
            os.fsync(self._file.fileno())
            self._writer.flush()  # it would keep two minutes in memory

    def _write(self, step: int, totals: dict[str, float]) -> None:
        means = torch.stack([total.float() for total in self._sums.values()]) / self._count
        dist.all_reduce(means)
        means = means / dist.get_world_size()
        seconds = time.perf_counter() - self._since
        self.last = dict(zip(self._sums, means.tolist(), strict=True))
        if not math.isfinite(self.last["loss"]):
            raise UserError(f"the loss is {self.last['loss']} at step {step}; lower optimizer.dense_lr or table_lr.")
        self.last |= totals
        self.last["examples_per_s"] = self._count * self._examples_per_step / seconds
        if self._file is not None and self._writer is not None:
            line: dict[str, Any] = {"step": step, **{name: round(value, 6) for name, value in self.last.items()}}
            self._file.write(json.dumps(line) + "\n")
            self._file.flush()
            for name, value in self.last.items():
                self._writer.add_scalar(name, value, step)
            self._bar.set_postfix({"loss": f"{self.last['loss']:.4f}"})
        self._sums, self._count, self._since = {}, 0, time.perf_counter()


def logged_lines(run: Path) -> list[tuple[int, str]]:
    """The whole lines of a run's metrics.jsonl, each after its step.

    Raises:
        UserError: there are others in it.
    """
    path = run / METRICS
    try:
        lines = path.read_text().splitlines(keepends=True) if path.exists() else []
        return [(int(json.loads(line)["step"]), line) for line in lines if line.endswith("\n")]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} has a line that no training wrote; take it out, or move the file away.") from error


def _continued(run: Path, step: int) -> TextIO:
    """Opens the log to go on after the line of `step`; whenever this is interrupted, no line up to it is lost."""
    path, logged = run / METRICS, logged_lines(run)
    if path.exists():
        write_whole(path, "".join(line for of_step, line in logged if of_step <= step))
    return path.open("a")
