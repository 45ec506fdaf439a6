"""Runs a comparison: a worker process a form, so many at a time; then serving; then the report."""

import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict
from typing import Any

from tqdm import tqdm

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.lock import being_written
from pinfm.train.comparison.comparison import Comparison
from pinfm.train.comparison.places import Places, best_rate
from pinfm.train.comparison.serving import Serving, measured_latency
from pinfm.train.data.info import DatasetInfo
from pinfm.train.launch.statuses import MISTAKE

WORKER = "pinfm.train.comparison.worker"


def compare(comparison: Comparison, serving: Serving, jobs: int) -> dict[str, Any]:
    """Trains and times what is not there yet of the forms that OUT holds and of new ones.

    Args:
        comparison: what to compare.
        serving: how to time it.
        jobs: worker processes at a time.

    Returns:
        The figures: `forms`: name -> {"interaction", "learning_rate", "seeds": {seed: figures}, "latency"}.

    Raises:
        UserError: OUT was made under other settings, is in use, a form can't be built of this dataset's features, or a
            worker ended by a mistake of the user's.
    """
    require_buildable(comparison)
    comparison.out.mkdir(parents=True, exist_ok=True)
    with being_written(comparison.out.resolve()):
        comparison = comparison.joined()
        comparison.write()
        _train(comparison, jobs)
        latency = measured_latency(comparison, serving)
    forms = {name: _figures(comparison, name) | {"latency": latency[name]} for name in comparison.forms}
    return {"settings": comparison.settings(), "serving": asdict(serving), "forms": forms}


def require_buildable(comparison: Comparison) -> None:
    """Builds every form, without its numbers: one that can't be must not end a comparison of hours.

    Raises:
        UserError: which form, and why.
    """
    # Slow to import, and here alone: training is the workers'.
    from pinfm.embeddings.specs import item_table
    from pinfm.train.dense_part import require_dense_part
    from pinfm.train.distributed import choose_device

    schema, device = DatasetInfo.read(comparison.data).schema, choose_device(comparison.config.device)
    for name in comparison.forms:
        config = comparison.run_config(name, comparison.learning_rates[0], comparison.seeds[0])
        try:
            require_dense_part(config, schema, item_table(config.item_table), device)
        except UserError as error:
            raise UserError(f"{name}: {error}") from error


def _train(comparison: Comparison, jobs: int) -> None:
    """Runs the workers of forms that lack a run."""
    waiting = [name for name in comparison.forms if not _is_done(comparison, name)]
    running: dict[str, subprocess.Popen[bytes]] = {}
    total = len(comparison.forms) * (len(comparison.learning_rates) + len(comparison.seeds) - 1)
    # disable=None: no bar where stderr is no terminal.
    with ExitStack() as stack, tqdm(total=total, unit="run", disable=None) as bar:
        stack.enter_context(_ended_with(running))
        while waiting or running:
            while waiting and len(running) < jobs:
                name = waiting.pop(0)
                running[name] = _start(comparison, name)
            for name, process in list(running.items()):
                status = process.poll()
                if status is not None:
                    del running[name]
                    _require_done(Places(comparison.out, name), status)
            bar.set_postfix_str(", ".join(running))
            bar.update(sum(_num_done(comparison, name) for name in comparison.forms) - bar.n)
            time.sleep(0.5)


def _start(comparison: Comparison, name: str) -> "subprocess.Popen[bytes]":
    log = Places(comparison.out, name).log
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as file:
        words = [sys.executable, "-m", WORKER, str(comparison.out), name]
        return subprocess.Popen(words, stdin=subprocess.DEVNULL, stdout=file, stderr=file)


@contextmanager
def _ended_with(running: "dict[str, subprocess.Popen[bytes]]") -> Iterator[None]:
    """Ends what still runs when the block does: each goes on from its newest checkpoint the next time."""
    try:
        yield
    finally:
        for process in running.values():
            process.terminate()
        for process in running.values():
            process.wait()


def _require_done(places: Places, status: int) -> None:
    if status == 0:
        return
    lines = places.log.read_text(errors="replace").splitlines()
    told = next((line.removeprefix("pinfm: ") for line in reversed(lines) if line.startswith("pinfm: ")), "")
    if status == MISTAKE and told:
        raise UserError(f"{places.form}: {told}")
    if status < 0:
        raise UserError(
            f"the process of {places.form} was killed (signal {-status}), as it happens where memory runs out; "
            "call again with fewer --jobs, and it goes on."
        )
    raise RuntimeError(f"the process of {places.form} failed with status {status}; {places.log} says why")


def _num_done(comparison: Comparison, name: str) -> int:
    """Finished runs of a form."""
    places = Places(comparison.out, name)
    first, *others = comparison.seeds
    done = sum(places.figures_file(rate, first).exists() for rate in comparison.learning_rates)
    chosen = best_rate(places, comparison.learning_rates, first)
    return done if chosen is None else done + sum(places.figures_file(chosen, seed).exists() for seed in others)


def _is_done(comparison: Comparison, name: str) -> bool:
    all_runs = len(comparison.learning_rates) + len(comparison.seeds) - 1
    return _num_done(comparison, name) == all_runs and Places(comparison.out, name).model.exists()


def _figures(comparison: Comparison, name: str) -> dict[str, Any]:
    places, (first, *_) = Places(comparison.out, name), comparison.seeds
    rate = best_rate(places, comparison.learning_rates, first)
    assert rate is not None
    tried = {f"{tried:g}": places.figures(tried, first) or {} for tried in comparison.learning_rates}
    return {
        "interaction": comparison.forms[name],
        "learning_rate": rate,
        "tried": {tried: figures["validation"] for tried, figures in tried.items()},
        "memory_mib": tried[f"{comparison.learning_rates[0]:g}"]["memory_mib"],  # of the form's first run
        "seeds": {str(seed): places.figures(rate, seed) for seed in comparison.seeds},
    }
