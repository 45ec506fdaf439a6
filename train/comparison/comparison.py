"""What is compared, and where it is kept. Read without torch, so that a mistake is told at once."""

import hashlib
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

from pinfm.embeddings.errors import UserError, require_positive
from pinfm.embeddings.files.whole import write_whole
from pinfm.model.ranking.interactions.settings import interaction_plan
from pinfm.train.comparison.places import Places
from pinfm.train.config import RunConfig
from pinfm.train.data.info import SPLITS, DatasetInfo
from pinfm.train.run_folder.flat import flat

FILE = "comparison.json"
# What the comparison sets itself, so that it is nothing that two comparisons could differ by.
OWN = (
    *("config.seed", "config.device", "config.log_steps", "config.checkpoint_steps"),
    *("config.ranker.interaction", "config.finetune.optimizer.dense_lr"),
)

# A form as `ranker.interaction` takes it: a name, or a composition.
Form = str | dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Comparison:
    """Forms that are trained on one dataset under one config.

    Args:
        config: of all runs, but for the interaction, the learning rate and the seed.
        data: the prepared dataset.
        out: where everything is kept.
        forms: name -> form, in the order of the table.
        learning_rates: of the dense weights; each form is tried at all of them, under the first seed.
        seeds: at the better rate each form is trained under all of them.
        pretrained: a pretraining run that every run starts from.
    """

    config: RunConfig
    data: Path
    out: Path
    forms: dict[str, Form]
    learning_rates: tuple[float, ...]
    seeds: tuple[int, ...]
    pretrained: Path | None = None

    def __post_init__(self) -> None:
        for name, values in (("learning_rates", self.learning_rates), ("seeds", self.seeds), ("forms", self.forms)):
            if not values:
                raise UserError(f"{name} is empty; give at least one.")
            # Folders are named by a rate's six digits, so that two which differ beyond them would share their figures.
            names = {f"{value:g}" if isinstance(value, float) else value for value in values}
            if len(names) < len(values):
                raise UserError(f"{name} {list(values)} holds one of them twice; leave it out.")
        for rate in self.learning_rates:
            require_positive("", learning_rates=rate)
        replace(self.config, seed=max(self.seeds))  # refuses one that is too large
        for form in self.forms.values():
            interaction_plan(form)  # refuses what is none

    def run_config(self, name: str, rate: float, seed: int) -> RunConfig:
        """The config of one run."""
        config = self.config
        optimizer = replace(config.finetune.optimizer, dense_lr=rate)
        return replace(
            config,
            seed=seed,
            log_steps=min(config.log_steps, 10),  # each line is a measurement of the speed
            ranker=replace(config.ranker, interaction=self.forms[name]),
            finetune=replace(config.finetune, optimizer=optimizer),
        )

    def settings(self) -> dict[str, Any]:
        """What the figures depend on, beside form and seed."""
        described = (self.data / "dataset.json").read_bytes()
        return {
            "config": asdict(self.config),
            "dataset": hashlib.sha256(described).hexdigest(),
            "learning_rates": list(self.learning_rates),
            "first_seed": self.seeds[0],
            "pretrained": None if self.pretrained is None else str(self.pretrained.resolve()),
        }

    def joined(self) -> "Comparison":
        """This comparison with the forms that `out` has figures of before its own.

        Raises:
            UserError: `out` was made under other settings, or holds another form of one of these names.
        """
        path = self.out / FILE
        if not path.exists():
            return self
        before = _read(path)
        # A setting that came later than the folder was its default then.
        defaults = {"config": asdict(RunConfig())}
        ours, then, theirs = (
            flat(json.loads(json.dumps(values))) for values in (self.settings(), defaults, before["settings"])
        )
        theirs = then | theirs
        differ = [name for name in sorted(ours | theirs) if ours.get(name) != theirs.get(name)]
        differ = [name for name in differ if not name.startswith(OWN)]
        if differ:
            name = differ[0]
            raise UserError(
                f"{self.out} was made with {name.removeprefix('config.')} {theirs.get(name)}, not {ours.get(name)}; "
                "give the settings that it was made with, or another --out."
            )
        # One that never got as far may be one that can't: it would stand in the way of the others for ever.
        kept = {name: form for name, form in before["forms"].items() if Places(self.out, name).has_figures()}
        joined = replace(self, forms={**kept, **self.forms})
        for name in kept:
            if joined.plans()[name] != before["plans"][name]:
                other = before["plans"][name]
                raise UserError(f"{self.out} holds another form called {name} ({other}); give this one another name.")
        return joined

    def plans(self) -> dict[str, str]:
        """Name -> what is built, with every setting: a name alone would hide that its defaults have changed."""
        return {name: str(interaction_plan(form)) for name, form in self.forms.items()}

    def write(self) -> None:
        """Writes OUT/comparison.json, from which workers read what to do."""
        self.out.mkdir(parents=True, exist_ok=True)
        values = {
            "settings": json.loads(json.dumps(self.settings())),
            "forms": self.forms,
            "plans": self.plans(),
            "seeds": list(self.seeds),
            "data": str(self.data),
        }
        write_whole(self.out / FILE, json.dumps(values, indent=2) + "\n")

    @classmethod
    def read(cls, out: Path) -> "Comparison":
        """The inverse of `write`."""
        from pinfm.train.cli.run_flags import config_from_manifest

        values = _read(out / FILE)
        settings = values["settings"]
        return cls(
            config=config_from_manifest(settings["config"]),
            data=Path(values["data"]),
            out=out,
            forms=values["forms"],
            learning_rates=tuple(settings["learning_rates"]),
            seeds=tuple(values["seeds"]),
            pretrained=None if settings["pretrained"] is None else Path(settings["pretrained"]),
        )


def require_splits(data: Path) -> None:
    """Checks that a dataset has requests to train, to choose the learning rate, and to compare on.

    Raises:
        UserError: a split has none.
    """
    requests = DatasetInfo.read(data).counts.requests
    empty = [split for split in SPLITS if not requests.get(split)]
    if empty:
        raise UserError(
            f"{data} has no {empty[0]} requests, which a comparison needs; prepare it with other split dates."
        )


def parse_forms(words: Sequence[str]) -> dict[str, Form]:
    """Forms as a command line names them: `gdcn`, `{parallel: [input, gdcn]}`, or `beside={parallel: [input, gdcn]}`.

    Args:
        words: one a form.

    Returns:
        Name -> form; a composition without a name is called what it is.

    Raises:
        UserError: a composition that is no YAML, or two forms of one name.

    Example:
        >>> parse_forms(["gdcn", "two={stacked: [gdcn, gdcn]}"])
        {'gdcn': 'gdcn', 'two': {'stacked': ['gdcn', 'gdcn']}}
    """
    forms: dict[str, Form] = {}
    for word in words:
        named = re.fullmatch(r"([\w.-]+)=(.+)", word, flags=re.DOTALL)
        name, text = (named[1], named[2]) if named else (word.strip(), word)
        try:
            form = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise UserError(
                f"form {text!r} is no YAML; write a name, or such as '{{stacked: [gdcn, gdcn]}}'."
            ) from error
        if not isinstance(form, str | dict):
            raise UserError(f"form {text!r} is neither a name nor a composition; write such as gdcn.")
        if name in forms:
            raise UserError(f"two forms are called {name}; give one of them a name of its own, as in other={text}.")
        forms[name] = form
    return forms


def _read(path: Path) -> dict[str, Any]:
    try:
        values: dict[str, Any] = json.loads(path.read_text())
        values["settings"], values["forms"], values["plans"], values["seeds"], values["data"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path} is not what a comparison writes; give another --out.") from error
    return values
