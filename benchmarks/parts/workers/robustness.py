"""What benchmarks/robustness.py starts, a process a seed: attacks a seed's models and measures every defence.

The file that it writes grows defence by defence, so that a process that was stopped goes on.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import asdict, fields
from functools import partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.parts.robustness.attacks.aware import aware_figures, known
from benchmarks.parts.robustness.attacks.hot_flip import Believes
from benchmarks.parts.robustness.attacks.vectors import VectorAttack
from benchmarks.parts.robustness.experiment import Attacker, Material, Size, read_material
from benchmarks.parts.robustness.measure import distrusted, measured, scores, untouched
from benchmarks.parts.robustness.rows import AWARE, EVERY_ROW, PGD, Row
from benchmarks.parts.robustness.victim import defended, scored_run, served_reference, trust
from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.whole import replaced
from pinfm.inference.module import ScoringModule
from pinfm.model.adaptation.config import TrustConfig, VectorAdaptationConfig
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.data.dataset import PreparedDataset

Figures = dict[str, dict[str, float]]


def call(runs: Mapping[str, Path], data: Path, out: Path, size: Size) -> None:
    """Starts this program with one thread and waits for it; see `words`."""
    command = [sys.executable, "-m", "benchmarks.parts.workers.robustness", *words(runs, data, out, size)]
    subprocess.run(command, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)


def words(runs: Mapping[str, Path], data: Path, out: Path, size: Size) -> list[str]:
    """The program's flags.

    Args:
        runs: training -> folder of the run.
        data: the prepared dataset.
        out: the JSON file.
        size: how much is measured.
    """
    paths = [f"--{name}={path}" for name, path in {**runs, "data": data, "out": out}.items()]
    return paths + [f"--{name}={value}" for name, value in asdict(size).items()]


def main() -> None:
    """Measures what is missing."""
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("plain", "adversarial", "data", "out"):
        parser.add_argument(f"--{name}", type=Path, required=True)
    for field in fields(Size):
        parser.add_argument(f"--{field.name}", type=int, required=True)
    args = parser.parse_args()
    torch.set_num_threads(1)
    size = Size(**{field.name: getattr(args, field.name) for field in fields(Size)})
    runs = {"plain": args.plain, "adversarial": args.adversarial}
    values = begun(args.out, {"size": asdict(size)})
    material = read_material(PreparedDataset.open(args.data), _max_history(args.plain), size)
    models: dict[str, Model] = {}
    for row in EVERY_ROW:  # what the main tables show before the sweeps
        if row.name not in values["rows"]:
            if row.training not in models:
                models[row.training] = Model(runs[row.training], material, size)
            values["rows"][row.name] = models[row.training].figures(row)
            with replaced(args.out) as unfinished:
                unfinished.write_text(json.dumps(values, indent=1) + "\n")
            print(f"{args.out.name}: {row.name}", flush=True)


class Model:
    """A run with its attacks.

    Args:
        path: the run.
        material: what is attacked.
        size: how much is measured.
    """

    def __init__(self, path: Path, material: Material, size: Size) -> None:
        positive_codes = RunFolder.open(path).schema.positive_codes()
        self.module, self.material, self.size = scored_run(path), material, size
        self.reference = served_reference(self.module, path)
        self.attacker = Attacker(
            self.module, material, positive_codes, _max_history(path), size.steps, self._believes(TrustConfig())
        )

    def figures(self, row: Row) -> Figures:
        """Attack -> figures of a defence."""
        module = self.module if row.defence is None else defended(self.module, row.defence, self.reference)
        lists = self.material.lists
        clean_N = scores(module, untouched(self.material.requests), lists)[:, 0]
        found = {attack.name: measured(module, self.attacker(attack), lists, clean_N) for attack in row.attacks()}
        if isinstance(row.defence, TrustConfig):
            for attack in row.attacks():
                found[attack.name] |= distrusted(partial(trust, module), row.defence.threshold, self.attacker(attack))
        if row in AWARE:
            found[PGD.name] |= self._aware(row, module)
        return found

    def _believes(self, config: TrustConfig) -> Believes:
        module = defended(self.module, config, self.reference)
        return lambda requests: trust(module, requests) >= config.threshold

    def _aware(self, row: Row, behind: ScoringModule) -> dict[str, float]:
        through = None
        if isinstance(row.defence, VectorAdaptationConfig):
            through = known(self.module, self.reference, row.defence)
        requests = self.material.requests
        first = requests.take(torch.arange(min(self.size.aware, len(requests.request_id))))
        attack = VectorAttack(radius=PGD.size, steps=self.size.steps)
        return aware_figures(self.module, behind, through, first, attack)


def _max_history(run: Path) -> int:
    longest: int = RunFolder.open(run).manifest["config"]["max_history"]
    return longest


def begun(out: Path, settings: Mapping[str, Any]) -> dict[str, Any]:
    """What the file holds already.

    Raises:
        UserError: it was begun with other settings.
    """
    if not out.exists():
        return {"settings": settings, "rows": {}}
    values: dict[str, Any] = json.loads(out.read_text())
    if values["settings"] != settings:
        raise UserError(f"{out} was made with other settings; remove it.")
    return values


if __name__ == "__main__":
    main()
