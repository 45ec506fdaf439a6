"""Trains one form of a comparison, run after run, in a process of its own.

    python -m pinfm.train.comparison.worker OUT FORM

What is done already is left alone, so it can be started again wherever it was stopped.
"""

import shutil
import sys
import time
from collections.abc import Sequence
from importlib.metadata import entry_points
from pathlib import Path

import torch

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.cli.ends import ending
from pinfm.train.cli.main import run_verb
from pinfm.train.cli.quiet import hush_libraries
from pinfm.train.comparison.comparison import Comparison
from pinfm.train.comparison.one_run import (
    JOB,
    Memory,
    candidates_per_second,
    evaluate,
    num_parameters,
)
from pinfm.train.comparison.places import Places, best_rate
from pinfm.train.distributed import choose_device
from pinfm.train.launch.processes import end_with_parent
from pinfm.train.launch.statuses import DONE
from pinfm.train.phases import finetune
from pinfm.train.run_folder.place import Place
from pinfm.train.signals import sigterm_raises


def main(argv: Sequence[str]) -> int:
    """Trains what is missing of a form; returns an exit status as `pinfm` does."""
    hush_libraries()
    end_with_parent()
    try:
        with sigterm_raises():
            FormWorker(Comparison.read(Path(argv[0])), argv[1]).run()
    except BaseException as error:
        end = ending(error)
        if end is None:
            raise
        print(f"pinfm: {end[0]}", file=sys.stderr)
        return end[1]
    return DONE


class FormWorker:
    """Tunes a form, exports its first run, and trains it under the other seeds.

    Args:
        comparison: what to do.
        form: the form's name.
    """

    def __init__(self, comparison: Comparison, form: str) -> None:
        self._comparison, self._form = comparison, form
        self._places = Places(comparison.out, form)
        # Forms are compared at one thread each, whatever runs beside them.
        torch.set_num_threads(1)
        self._memory: Memory | None = Memory(choose_device(comparison.config.device))

    def run(self) -> None:
        """Does what is not done yet."""
        rates, (first, *others) = self._comparison.learning_rates, self._comparison.seeds
        for rate in rates:
            self._figures(rate, first, ("validation", "test"), keep_requests=True)
        rate_chosen = best_rate(self._places, rates, first)
        assert rate_chosen is not None
        if not self._places.model.exists():
            self._export(rate_chosen, first)
        for seed in others:
            self._figures(rate_chosen, seed, ("test",), keep_requests=False)
            shutil.rmtree(self._places.run(rate_chosen, seed), ignore_errors=True)
        shutil.rmtree(self._places.runs, ignore_errors=True)

    def _figures(self, rate: float, seed: int, splits: tuple[str, ...], *, keep_requests: bool) -> None:
        """Trains and evaluates a run, and keeps its figures; once."""
        if self._places.figures(rate, seed) is not None:
            return
        config, place = self._comparison.run_config(self._form, rate, seed), self._place(rate, seed)
        start = time.perf_counter()
        finetune(config, place, keep_requests=keep_requests)
        seconds = time.perf_counter() - start
        memory, self._memory = self._memory, None  # what a second run holds lies among what the first has left
        figures = {
            "form": self._form,
            "interaction": self._comparison.forms[self._form],
            "learning_rate": rate,
            "seed": seed,
            "parameters": num_parameters(config, RunFolder.open(place.out)),
            "candidates_per_s": candidates_per_second(place.out, place.data),
            "memory_mib": None if memory is None else memory.peak_mib(),
            "floor_mib": None if memory is None else memory.floor_mib,
            "train_seconds": round(seconds, 1),
        }
        self._places.write(rate, seed, figures | evaluate(config, place, splits))

    def _export(self, rate: float, seed: int) -> None:
        place = self._place(rate, seed)
        # A run that is finished trains no further; one whose folder was removed is made again.
        finetune(self._comparison.run_config(self._form, rate, seed), place)
        # The verbs are found by name, since train/ does not import inference/.
        export = entry_points(group="pinfm.verbs")["export"].load()
        run_verb(export, "export", [str(place.out), "--out", str(self._places.model)])

    def _place(self, rate: float, seed: int) -> Place:
        comparison = self._comparison
        out = self._places.run(rate, seed)
        out.parent.mkdir(parents=True, exist_ok=True)
        return Place(data=comparison.data, out=out, pretrained=comparison.pretrained, job=JOB)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
