"""The flags that `pretrain` and `finetune` share: a config, its overrides, and where to read and write."""

from collections.abc import Sequence
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from jsonargparse import ActionConfigFile, ArgumentError, ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.model.stored.older import cold_start_of_today, ranker_of_today
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.cli.quiet import is_first_process
from pinfm.train.config import FinetuneConfig, PretrainConfig, RunConfig
from pinfm.train.recipes import recipe_names, recipe_path

# The value of --config that leaves the choice to rules.
AUTO = "auto"


class RecipeFile(ActionConfigFile):
    """`--config`, which takes `auto`, the name of a shipped recipe or a YAML file."""

    asks_auto = False

    def __call__(  # type: ignore[override]  # jsonargparse's own classes stand where argparse's are declared
        self, parser: ArgumentParser, cfg: Namespace, values: Any, option_string: str | None = None
    ) -> None:
        """Reads the recipe into the namespace."""
        if values == AUTO:
            self.asks_auto = True  # and `completed` does the rest, once all flags are known
            return
        path = recipe_path(values)
        try:
            super().__call__(parser, cfg, str(path), option_string)  # type: ignore[no-untyped-call]
        except UserError as error:
            raise UserError(f"{path}: {error}") from error

    def completed(self, parser: ArgumentParser, argv: Sequence[str]) -> Namespace | None:
        """The instantiated flags of a command that leaves the choice to rules; None of another.

        Args:
            parser: of the verb.
            argv: its words.

        Raises:
            UserError: there is no dataset to choose by.
        """
        if not any(word == AUTO or word.endswith(f"={AUTO}") for word in argv):
            return None
        # --print_config would end the command here, before anything is chosen.
        said = parser.parse_args([word for word in argv if not word.startswith("--print_config")], defaults=False)
        if not self.asks_auto:
            return None
        from pinfm.train.cli.auto import completed

        return completed(parser, argv, said)


def add_run_flags(parser: ArgumentParser) -> None:
    """Adds --data, --out, --resume, --job, and the flags of the config."""
    parser.add_argument("--data", type=Path, required=True, help="a prepared dataset")
    parser.add_argument("--out", type=Path, required=True, help="the run folder to write")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its newest checkpoint")
    parser.add_argument(
        "--job",
        type=str | None,
        default=None,
        help="name of this launch, for what starts it again: a run in --out that it began goes on, as with --resume",
    )
    add_config_flags(parser)


def add_config_flags(parser: ArgumentParser) -> None:
    """Adds --config, and a flag for every field of RunConfig."""
    parser.add_argument(
        "--config",
        action=RecipeFile,
        help=f"auto, which chooses by the dataset, a recipe ({', '.join(recipe_names())}) or a YAML file; later flags "
        "override, and with auto all flags do",
    )
    parser.add_class_arguments(RunConfig)


def run_config(args: Namespace) -> RunConfig:
    """The config among the verb's instantiated flags."""
    return RunConfig(**{field.name: args[field.name] for field in fields(RunConfig)})


def config_from_manifest(values: dict[str, Any]) -> RunConfig:
    """The config that a run was made with, from its manifest.

    Raises:
        UserError: another version of pinfm made it.
    """
    for name, part in asdict(RunConfig()).items():
        # jsonargparse takes an empty part for the default one.
        if isinstance(part, dict) and not isinstance(values.get(name, part), dict):
            raise UserError(f"the run's settings hold {values[name]!r} for {name}, which has parts; train it again.")
    if "ranker" in values:
        values = {**values, "ranker": ranker_of_today(values["ranker"])}
    if "cold_start" in values:
        values = {**values, "cold_start": cold_start_of_today(values["cold_start"])}
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(RunConfig)
    try:
        return run_config(parser.instantiate(parser.parse_object(values)))
    except (ArgumentError, TypeError, AttributeError) as error:  # the last two of a part that is null or a list
        problem = " ".join(str(error).split())
        raise UserError(f"the run's settings are not those of this version ({problem}); train it again.") from error


def print_end(run: Path, metrics: dict[str, float], phase: PretrainConfig | FinetuneConfig, unit: str) -> None:
    """The lines that end a training verb, from the first process alone."""
    if not is_first_process():
        return
    if not metrics:
        print(f"{run}: finished before, nothing left to train")
    else:
        print(f"{run}: loss {metrics['loss']:.4f}, {metrics['examples_per_s']:.0f} {unit}/s")
    found = RunFolder.open(run).validated()
    if found is not None:
        early = found.waited >= phase.validation.patience
        why = f"no better for {found.waited} evaluations" if early else "the last of its epochs"
        print(f"{run}: kept {found.told()}; ended after step {found.curve[-1][0]}, {why}")
