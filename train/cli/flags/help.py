"""The help of a verb, which says what a value is in the words of users and not in those of Python."""

import re
from argparse import Action
from typing import get_args

from jsonargparse import DefaultHelpFormatter

from pinfm.model.ranking.interactions.table import InteractionName
from pinfm.train.cli.flags.lists import number_list
from pinfm.train.cli.flags.words import name_list

# What jsonargparse calls a type, and what it is called here.
_CALLED = (
    (r"<class '(?:.*\.)?(\w+)'>", r"\1"),
    (r"Optional\[(.*)\]", r"\1 | null"),
    (r"Literal\[(.*)\]", r"\1"),
    (r"Union\[(.*)\]", r"\1"),
    (r"\bPath\b", "path"),
)


class VerbHelp(DefaultHelpFormatter):
    """Lays out `pinfm VERB --help`."""

    def _get_type_str(self, action: Action) -> str | None:
        if action.type is number_list:
            return "numbers, as in 0.001,0.003"
        if action.type is name_list:
            return "names, as in '[click, save]'"
        if action.dest == "ranker.interaction":
            return f"{', '.join(get_args(InteractionName))}, or a mapping"
        told: str | None = super()._get_type_str(action)
        for python, ours in _CALLED if told else ():
            told = re.sub(python, ours, str(told))
        return told
