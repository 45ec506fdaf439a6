"""What fine-tuning takes over from the pretraining run that it starts from: another tower can't read its weights."""

from collections.abc import Iterator
from typing import Any

from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.auto.choices import Rule, Settings
from pinfm.train.auto.facts import Facts

# How tables lie on the ranks is a matter of the hardware.
FREE = ("item_table.sharding",)


def following(run: RunFolder) -> Rule:
    """The rule of fine-tuning from a run; it goes before all others.

    Args:
        run: of `pinfm pretrain`.
    """
    config = run.manifest["config"]
    parts = ("tower", "item_table", *(("managed_ids",) if run.item_table.ids == "managed" else ()))
    values = {"max_history": config["max_history"]}
    values |= {f"{part}.{name}": value for part in parts for name, value in config[part].items()}

    def followed(facts: Facts, settings: Settings) -> Iterator[tuple[str, Any, str]]:
        for setting, value in values.items():
            if setting in settings and setting not in FREE:
                yield setting, value, "as the pretraining run has it"

    return followed
