"""The training loop over the rank's batches, with metrics, checkpoints and a progress bar."""

import contextlib
import json
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import numpy as np
import torch
import torch.distributed as dist
from torch import Tensor
from torch.optim.lr_scheduler import LambdaLR
from torch.utils.tensorboard import SummaryWriter
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist
from tqdm import tqdm

from pinfm.embeddings.errors import UserError
from pinfm.train.config import OptimizerConfig
from pinfm.train.distributed import is_first_rank
from pinfm.train.ids.reset import RowReset
from pinfm.train.ids.step_by_step import StepByStep
from pinfm.train.loader.batches import Batch
from pinfm.train.memory import give_back_freed_memory
from pinfm.train.run_folder import checkpoint

METRICS = "metrics.jsonl"


@dataclass(frozen=True, kw_only=True)
class LoopConfig:
    """The length and rhythm of a run.

    Args:
        total_steps: steps of the whole run.
        examples_per_step: over all ranks, for the progress bar.
        log_steps: steps between lines of metrics.jsonl; checkpoints have one too.
        checkpoint_steps: steps between checkpoints.
        precision: `fp32` or `bf16`, of the dense part.
        seed: of dropout, with step and rank.
        optimizer: warm-up and decay.
    """

    total_steps: int
    examples_per_step: int
    log_steps: int
    checkpoint_steps: int
    precision: str
    seed: int
    optimizer: OptimizerConfig

    def saves_after(self, step: int) -> bool:
        """Whether there is a checkpoint of this step."""
        return step % self.checkpoint_steps == 0 or step == self.total_steps


def train(
    state: checkpoint.TrainState,
    batches: Iterator[Batch],
    run: Path,
    device: torch.device,
    config: LoopConfig,
    reset: RowReset,
) -> dict[str, float]:
    """Trains until `config.total_steps`; `state.step` says where it starts.

    Args:
        state: model, optimizer and step.
        batches: this rank's batches from that step on.
        run: where metrics and checkpoints go.
        device: of this rank.
        config: the length and rhythm.
        reset: of rows that managed ids are given.

    Returns:
        The last logged metrics.
    """
    pipeline = (
        StepByStep(state.model, state.optimizer, device, reset)
        if state.ids.managed
        else TrainPipelineSparseDist(state.model, state.optimizer, device, execute_all_batches=True)
    )
    for group in state.optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    schedule = LambdaLR(
        state.optimizer, learning_rate_factor(config.optimizer, config.total_steps), last_epoch=state.step - 1
    )
    state.model.train()
    with MetricsLog(run, config, state.step) as log, _autocast(device, config.precision):
        while state.step < config.total_steps:
            seed_step(config.seed, state.step)
            parts = pipeline.progress(batches)
            schedule.step()
            state.step += 1
            log.add(state.step, parts, state.ids.counters)
            if config.saves_after(state.step):
                checkpoint.save(state, run)
                # Not more often: pages that are taken again cost a fault each.
                give_back_freed_memory()
    # The pipeline has put its own forward into the sharded tables; evaluation wants theirs back.
    pipeline.detach()
    return log.last


def seed_step(seed: int, step: int) -> None:
    """Seeds what this rank draws in a step, so that a run that goes on draws what it would have drawn.

    Args:
        seed: of the run.
        step: the steps done before.
    """
    (own,) = np.random.SeedSequence([seed, step, dist.get_rank()]).generate_state(1)
    torch.manual_seed(int(own))


def learning_rate_factor(rates: OptimizerConfig, total_steps: int) -> Callable[[int], float]:
    """Linear warm-up, then constant or half a cosine down to a tenth.

    Args:
        rates: warm-up and decay.
        total_steps: of the whole run.
    """
    warmup = rates.warmup_steps

    def factor(step: int) -> float:
        if step < warmup:
            return (step + 1) / warmup
        if rates.decay == "constant":
            return 1.0
        progress = (step - warmup) / max(1, total_steps - warmup)
        return 0.1 + 0.45 * (1.0 + math.cos(math.pi * min(1.0, progress)))

    return factor


class MetricsLog:
    """metrics.jsonl, TensorBoard and the progress bar; only the first rank writes.

    Args:
        run: the run folder.
        config: the rhythm.
        start_step: steps done before.
    """

    def __init__(self, run: Path, config: LoopConfig, start_step: int) -> None:
        self._config, self.last = config, dict[str, float]()
        self._sums: dict[str, Tensor] = {}
        self._count, self._since = 0, time.perf_counter()
        self._writer = SummaryWriter(run / "tensorboard", purge_step=start_step + 1) if is_first_rank() else None
        self._file = _continued(run, start_step) if is_first_rank() else None
        self._bar = tqdm(
            total=config.total_steps * config.examples_per_step,
            initial=start_step * config.examples_per_step,
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

    def add(self, step: int, values: dict[str, Tensor], totals: Callable[[], dict[str, float]]) -> None:
        """Adds a step's scalars; now and then writes their means over steps and ranks, and the totals as they are.

        It does so every `log_steps`, and before each checkpoint, which must not be of a loss that is no number.

        Args:
            step: that was done.
            values: of the step; all but scalars are left out.
            totals: tells what is so after the step, the same on every rank; asked when it is written.
        """
        for name, value in values.items():
            if value.dim() == 0:
                self._sums[name] = self._sums.get(name, torch.zeros_like(value)) + value.detach()
        self._count += 1
        self._bar.update(self._config.examples_per_step)
        if step % self._config.log_steps == 0 or self._config.saves_after(step):
            self._write(step, totals())

    def _write(self, step: int, totals: dict[str, float]) -> None:
        means = torch.stack([total.float() for total in self._sums.values()]) / self._count
        dist.all_reduce(means)
        means = means / dist.get_world_size()
        seconds = time.perf_counter() - self._since
        self.last = dict(zip(self._sums, means.tolist(), strict=True))
        if not math.isfinite(self.last["loss"]):
            raise UserError(f"the loss is {self.last['loss']} at step {step}; lower optimizer.dense_lr or table_lr.")
        self.last |= totals
        self.last["examples_per_s"] = self._count * self._config.examples_per_step / seconds
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
    """Opens the log after the line of `step`: what an interrupted run logged beyond its checkpoint is trained again."""
    kept = [line for logged, line in logged_lines(run) if logged <= step]
    file = (run / METRICS).open("w")
    file.writelines(kept)
    return file


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
