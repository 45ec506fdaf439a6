"""Sentences about settings, with the settings as the command line writes them: `--cold_start.content_fusion`."""

import re
from collections.abc import Sequence

from jsonargparse import ArgumentParser

# What a flag wanted, in the words of users.
_WANTED = {
    "int": "a whole number",
    "float": "a number",
    "bool": "true or false",
    "str": "text",
    "tuple": "a list, such as 256,128",
    "list": "a list, such as 256,128",
}
_WRONG_TYPE = re.compile(
    r"Parser key \"([\w.]+)\"(?: element \d+)?: Expected an? <class '(\w+)'>\. Got value: (.*?)(?=\. See |$)"
)


def as_flags(sentence: str, parser: ArgumentParser, argv: Sequence[str]) -> str:
    """Spells the settings that a sentence names as flags; what is none of the verb's flags is left as it is.

    Settings that several flags end in (`optimizer.dense_lr`) become the one among them that the command gives, or else
    all of them.

    Args:
        sentence: what went wrong.
        parser: of the verb.
        argv: the words of the command.

    Example:
        >>> parser = ArgumentParser()
        >>> for name in ("max_history", "pretrain.optimizer.dense_lr", "finetune.optimizer.dense_lr"):
        ...     _ = parser.add_argument(f"--{name}", type=float)
        >>> as_flags("max_history (0) must be at least 1.", parser, [])
        '--max_history (0) must be at least 1.'
        >>> as_flags("optimizer.dense_lr (0) must be above 0.", parser, ["--finetune.optimizer.dense_lr=0"])
        '--finetune.optimizer.dense_lr (0) must be above 0.'
    """
    options = [option for action in parser._actions for option in action.option_strings if option.startswith("--")]
    given = {word.partition("=")[0] for word in argv}

    def spelled(found: re.Match[str]) -> str:
        name = found[0]
        flags = [option for option in options if option == f"--{name}" or ("." in name and option.endswith(f".{name}"))]
        named = [flag for flag in flags if flag in given] or flags
        return " or ".join(named) if named else name

    # Not what is a flag, a path or a part of one already, nor YAML (`use_tower: false`). A name without a dot or a
    # stroke (`seed`) is a word as well: it is one of ours where a sentence begins with it and its value.
    names = r"(?<![\w.\-/'\"])(?:[a-z]\w*(?:\.\w+)+|[a-z]+_\w+|^[a-z]+(?= \())(?![\w/:]|\.\w)"
    return re.sub(names, spelled, sentence)


def wrong_type(sentence: str, parser: ArgumentParser) -> str:
    """What the parser says of a value of another type, in the words of users; other sentences as they are."""
    flags = {action.dest: action.option_strings[-1] for action in parser._actions if action.option_strings}

    def told(found: re.Match[str]) -> str:
        key, kind, value = found.groups()
        return f"{flags.get(key, key)} must be {_WANTED.get(kind, kind)}, and {value!r} is none"

    return _WRONG_TYPE.sub(told, sentence)
