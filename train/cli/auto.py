"""`--config auto`: the verb's flags, completed by what the rules choose for the dataset."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.auto.choices import Choice, choose, settings_of
from pinfm.train.auto.facts import Facts
from pinfm.train.auto.followed import following
from pinfm.train.auto.rules import RULES
from pinfm.train.auto.written import FILE, choices_table, write_config
from pinfm.train.cli.quiet import is_first_process
from pinfm.train.cli.run_flags import config_from_manifest
from pinfm.train.config import RunConfig
from pinfm.train.data.info import DatasetInfo
from pinfm.train.run_folder.place import Place

# Among the verb's flags.
_KEY = "auto"


@dataclass(frozen=True, kw_only=True)
class Auto:
    """What `--config auto` came to.

    Args:
        choices: of the rules; empty for a run that goes on, whose settings are its own.
        data: the dataset that they are for.
    """

    choices: tuple[Choice, ...]
    data: Path


def completed(parser: ArgumentParser, argv: Sequence[str], said: Namespace) -> Namespace:
    """The verb's instantiated flags, where `--config auto` is among its words.

    What is chosen takes the place of the defaults, so that every flag, and every other --config, counts before it,
    wherever it stands.

    Args:
        parser: of the verb.
        argv: its words.
        said: what they say, without defaults.

    Raises:
        UserError: --data is missing or no dataset, or --pretrained no run.
    """
    if said.get("data") is None:
        raise UserError("--config auto chooses by the dataset; give it with --data DATASET.")
    choices: tuple[Choice, ...] = ()
    settings = _begun(said)
    if settings is None:
        info = DatasetInfo.read(said.data)
        names = settings_of(RunConfig())
        given = {name: value for name, value in _flat(said).items() if name in names}
        rules = RULES if said.get("pretrained") is None else (following(RunFolder.open(said.pretrained)), *RULES)
        choices = choose(rules, Facts.of(info), given)
        settings = {choice.setting: choice.value for choice in choices}
    parser.set_defaults(settings)
    args: Namespace = parser.instantiate(parser.parse_args(list(argv)))
    args[_KEY] = Auto(choices=choices, data=said.data)
    return args


def tell_auto(args: Namespace, config: RunConfig, out: Path | None, leave_out: str = "") -> None:
    """Prints what was chosen for the verb, and writes it to OUT/auto.yaml; from the first process alone.

    Args:
        args: of the verb; without `--config auto` nothing happens.
        config: the settings.
        out: the folder that the verb makes.
        leave_out: what begins so is another verb's, and only in the file.
    """
    auto: Auto | None = args.get(_KEY)
    if auto is None or not is_first_process():
        return
    if not auto.choices:
        print(f"auto: {out} goes on with the settings that it was begun with")
        return
    shown = [choice for choice in auto.choices if not leave_out or not choice.setting.startswith(leave_out)]
    print(f"auto: chosen for {auto.data}, where what you say counts first\n\n{choices_table(shown)}\n")
    if out is not None:
        heading = f"Chosen by `--config auto` for {auto.data}; edit it, and give it as --config."
        write_config(out / FILE, config, auto.choices, heading)
        print(f"auto: {out / FILE} has all settings with their reasons, to be edited and given as --config\n")


def _begun(said: Namespace) -> dict[str, Any] | None:
    """The settings of the run that goes on in --out; None where one begins."""
    if said.get("out") is None or "resume" not in said:
        return None
    place = Place(data=said.data, out=said.out, resume=said.resume, job=said.get("job"))
    return settings_of(config_from_manifest(RunFolder.open(said.out).manifest["config"])) if place.goes_on() else None


def _flat(values: Namespace, prefix: str = "") -> dict[str, Any]:
    """Settings by their dotted names; a mapping is a value, such as an interaction."""
    found: dict[str, Any] = {}
    for name, value in vars(values).items():
        found |= _flat(value, f"{prefix}{name}.") if isinstance(value, Namespace) else {prefix + name: value}
    return found
