"""The training loop over the rank's batches, with metrics, checkpoints and a progress bar."""

import contextlib
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
from torch.optim.lr_scheduler import LambdaLR
from torchrec.distributed.train_pipeline import TrainPipelineSparseDist

from pinfm.train.config import OptimizerConfig
from pinfm.train.distributed import AnyRank
from pinfm.train.ids.reset import RowReset
from pinfm.train.ids.step_by_step import StepByStep
from pinfm.train.loader.batches import Batch
from pinfm.train.memory import give_back_freed_memory
from pinfm.train.run_folder import checkpoint
from pinfm.train.run_folder.metrics_log import MetricsLog
from pinfm.train.signals import HeldSigterm, Terminated
from pinfm.train.validation.validation import Validation


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
    validation: Validation | None = None,
) -> dict[str, float]:
    """Trains until `config.total_steps`, or until evaluations find nothing better; `state.step` says where it starts.

    Args:
        state: model, optimizer and step.
        batches: this rank's batches from that step on.
        run: where metrics and checkpoints go.
        device: of this rank.
        config: the length and rhythm.
        reset: of rows that managed ids are given.
        validation: evaluations on the way; none where None.

    Returns:
        The last logged metrics.

    Raises:
        Terminated: SIGTERM came to one of the ranks; there is a checkpoint of the step that all of them ended with.
    """
    pipeline, schedule = _pipeline(state, device, reset), _schedule(state, config)
    state.model.train()
    stops = AnyRank()
    log = _metrics_log(run, state.step, config)
    stretch = _until_evaluation(batches, state.step, config.total_steps, validation)
    with log, HeldSigterm() as sigterm:
        while goes_on(state, config.total_steps, validation):
            seed_step(config.seed, state.step)
            # Of one step alone: autocast keeps weights as it cast them until it is left, and the next step has others.
            with _autocast(device, config.precision):
                parts = pipeline.progress(stretch)
            schedule.step()
            state.step += 1
            with log.paused():
                found = _evaluate(state, pipeline, validation)
            if found:
                stretch = _until_evaluation(batches, state.step, config.total_steps, validation)
            stopped = stops.has(sigterm.came)
            saves = stopped or _saves(state, config, validation)
            log.add(state.step, parts, state.ids.counters, found=found, saves=saves)
            if saves:
                checkpoint.save(state, run)
                _remove_superseded(state, run, config)
                # Not more often: pages that are taken again cost a fault each.
                give_back_freed_memory()
            if stopped:
                raise Terminated(f"stopped by SIGTERM after step {state.step}; continue with --resume.")
    # The pipeline has put its own forward into the sharded tables; evaluation wants theirs back.
    pipeline.detach()
    return log.last


def _metrics_log(run: Path, step: int, config: LoopConfig) -> MetricsLog:
    return MetricsLog(
        run,
        step,
        total_steps=config.total_steps,
        examples_per_step=config.examples_per_step,
        log_steps=config.log_steps,
    )


def goes_on(state: checkpoint.TrainState, total_steps: int, validation: Validation | None) -> bool:
    """Whether a run has steps left, and hope."""
    return state.step < total_steps and not (validation is not None and validation.has_ended(state.validated))


def _evaluate(
    state: checkpoint.TrainState,
    pipeline: StepByStep | TrainPipelineSparseDist[Any, Any],
    validation: Validation | None,
) -> dict[str, float]:
    """What an evaluation after the newest step finds, by its names in the log; empty where there is none."""
    if validation is None or state.validated is None or not validation.follows(state.step):
        return {}
    # Its own forward in the sharded tables wants batches of its own. It has none under way, see `_until_evaluation`,
    # and puts it back with the next step.
    pipeline.detach()
    found = validation.measure()
    state.model.train()
    state.validated = state.validated.after(state.step, found[validation.config.metric])
    return {f"validation/{name}": value for name, value in found.items()}


def _until_evaluation(
    batches: Iterator[Batch], step: int, total_steps: int, validation: Validation | None
) -> Iterator[Batch]:
    """The batches of the steps after `step` until the next evaluation.

    TorchRec's pipeline reads ahead as far as it can, and can't be left while batches are on their way between ranks:
    what it attaches to again would send them a second time.
    """
    while step < total_steps:
        step += 1
        yield next(batches)
        if validation is not None and validation.follows(step):
            return


def _saves(state: checkpoint.TrainState, config: LoopConfig, validation: Validation | None) -> bool:
    """Whether the newest step has a checkpoint: by its number, as the best, or as the last."""
    best = None if state.validated is None else state.validated.best
    is_best = best is not None and best[0] == state.step
    return config.saves_after(state.step) or is_best or not goes_on(state, config.total_steps, validation)


def _remove_superseded(state: checkpoint.TrainState, run: Path, config: LoopConfig) -> None:
    """Removes checkpoints that were there only for having been the best."""
    if state.validated is not None:
        checkpoint.remove(run, (step for step in state.validated.superseded() if not config.saves_after(step)))


def _pipeline(
    state: checkpoint.TrainState, device: torch.device, reset: RowReset
) -> StepByStep | TrainPipelineSparseDist[Any, Any]:
    # One rank on a CPU has nothing to do while a batch is on its way: reading ahead would only cost.
    alone = device.type == "cpu" and dist.get_world_size() == 1
    if state.ids.managed or alone:
        return StepByStep(state.model, state.optimizer, device, reset)
    return TrainPipelineSparseDist(state.model, state.optimizer, device, execute_all_batches=True)


def _schedule(state: checkpoint.TrainState, config: LoopConfig) -> LambdaLR:
    for group in state.optimizer.param_groups:
        group.setdefault("initial_lr", group["lr"])
    factor = learning_rate_factor(config.optimizer, config.total_steps)
    return LambdaLR(state.optimizer, factor, last_epoch=state.step - 1)


def seed_step(seed: int, step: int) -> None:
    """Seeds what this rank draws in a step, so that a run that goes on draws what it would have drawn.

    Args:
        seed: of the run.
        step: the steps done before.
    """
    own = int(np.random.SeedSequence([seed, step, dist.get_rank()]).generate_state(1)[0])
    # What torch.manual_seed does for the devices in use; for those that are not, it keeps a stack trace each time.
    torch.default_generator.manual_seed(own)
    if torch.cuda.is_initialized():  # type: ignore[no-untyped-call]
        torch.cuda.manual_seed(own)


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


def _autocast(device: torch.device, precision: str) -> contextlib.AbstractContextManager[Any]:
    if precision == "bf16":
        return torch.autocast(device.type, dtype=torch.bfloat16)
    return contextlib.nullcontext()
