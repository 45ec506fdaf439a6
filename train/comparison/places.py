"""Where the parts of a comparison lie below its folder."""

import hashlib
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pinfm.embeddings.files.whole import write_whole

Figures = dict[str, Any]


@dataclass(frozen=True)
class Places:
    """The files of one form.

    Args:
        out: the comparison's folder.
        form: its name.
    """

    out: Path
    form: str

    @property
    def model(self) -> Path:
        """The artefact that is timed."""
        return self.out / "models" / self.folder

    @property
    def log(self) -> Path:
        """What the form's process said."""
        return self.out / "logs" / f"{self.folder}.txt"

    @property
    def runs(self) -> Path:
        """The run folders."""
        return self.out / "runs" / self.folder

    @property
    def folder(self) -> str:
        """The form's name, where it can be one of a folder."""
        if re.fullmatch(r"\w[\w.-]{0,60}", self.form):
            return self.form
        return f"composition-{hashlib.sha256(self.form.encode()).hexdigest()[:12]}"

    def run(self, rate: float, seed: int) -> Path:
        """A run folder."""
        return self.runs / _name(rate, seed)

    def figures_file(self, rate: float, seed: int) -> Path:
        """What a run earned and cost."""
        return self.out / "figures" / self.folder / f"{_name(rate, seed)}.json"

    def figures(self, rate: float, seed: int) -> Figures | None:
        """What a finished run earned and cost; None where it is not finished."""
        path = self.figures_file(rate, seed)
        return json.loads(path.read_text()) if path.exists() else None

    def has_figures(self) -> bool:
        """Whether any run is finished."""
        return (self.out / "figures" / self.folder).is_dir()

    def write(self, rate: float, seed: int, figures: Figures) -> None:
        """Keeps what a run earned and cost."""
        path = self.figures_file(rate, seed)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, json.dumps(figures, indent=2) + "\n")


def best_rate(places: Places, rates: tuple[float, ...], seed: int) -> float | None:
    """The rate with the best mean AUC on the validation split; None before all of them are tried.

    Args:
        places: of the form.
        rates: that are tried; of equals the first.
        seed: the first one.
    """
    tried = [(rate, places.figures(rate, seed)) for rate in rates]
    found = [(mean_auc(figures["validation"]), rate) for rate, figures in tried if figures is not None]
    return max(found, key=lambda pair: pair[0])[1] if len(found) == len(rates) else None


def mean_auc(tasks: dict[str, dict[str, float | None]]) -> float:
    """Mean over the tasks that have an AUC; one half where none has.

    Example:
        >>> mean_auc({"click": {"auc": 0.75}, "save": {"auc": 0.25}, "hide": {"auc": None}})
        0.5
    """
    values = [of["auc"] for of in tasks.values() if of["auc"] is not None]
    return sum(values) / len(values) if values else 0.5


def _name(rate: float, seed: int) -> str:
    return f"rate-{rate:g}-seed-{seed}"
