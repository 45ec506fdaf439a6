"""`ranker.interaction` of a recipe, read and checked without torch.

interaction: dot                                     a name
interaction: {form: dcn_v2_low_rank, rank: 32}       a form with settings of its own
interaction: {stacked: [mask_net_parallel, dot]}     each reads what the one before it gives
interaction: {parallel: [input, dcn_v2_low_rank]}    all read the same; their outputs stand side by side
"""

from dataclasses import dataclass
from typing import Any, get_args

from pinfm.embeddings.errors import UserError, require_at_least, require_at_most
from pinfm.model.ranking.interactions.table import COMPOSITIONS, FORMS, InteractionName

WHERE = "ranker.interaction"
# Of one setting: beyond it no weight matrix has a place in memory.
MOST = 1 << 16
# Of what is repeated, and of forms within each other: more is a slip of the hand, which would be built for minutes.
MOST_REPEATED = 256
REPEATED = ("layers", "blocks")
MOST_DEEP = 16


@dataclass(frozen=True)
class FormPlan:
    """One form.

    Args:
        name: in FORMS.
        settings: all that it reads.
    """

    name: str
    settings: dict[str, int | float]


@dataclass(frozen=True)
class Stack:
    """Each part reads what the one before it gives."""

    parts: "tuple[Plan, ...]"


@dataclass(frozen=True)
class Beside:
    """All parts read the same, and their outputs stand side by side."""

    parts: "tuple[Plan, ...]"


Plan = FormPlan | Stack | Beside
_KINDS: dict[str, type[Stack] | type[Beside]] = {"stacked": Stack, "parallel": Beside}


def interaction_plan(value: Any, where: str = WHERE, depth: int = 0) -> Plan:
    """What to build.

    Args:
        value: as a recipe has it, see above.
        where: what the sentence of an error calls it.
        depth: compositions that it stands in.

    Raises:
        UserError: an unknown name, a setting that the form does not read, or a value that is none of the shapes above.
    """
    if depth > MOST_DEEP:
        raise UserError(f"{WHERE} is nested more than {MOST_DEEP} deep; stack the forms in one list.")
    if isinstance(value, dict) and list(value) == ["form"] and isinstance(value["form"], str):
        value = value["form"]  # without settings, as good as its name
    if isinstance(value, str):
        if value in COMPOSITIONS:
            return interaction_plan(COMPOSITIONS[value], where)
        return _form({"form": value}, where)
    if isinstance(value, dict) and "form" in value:
        return _form(value, where)
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in _KINDS:
        [(kind, parts)] = value.items()
        if not isinstance(parts, list | tuple) or not parts:
            raise UserError(f"{where}.{kind} ({parts!r}) must be a list of at least one form, such as [dot].")
        return _KINDS[kind](
            tuple(interaction_plan(part, f"{where}.{kind}[{i}]", depth + 1) for i, part in enumerate(parts))
        )
    raise UserError(
        f"{where} ({value!r}) must be one of {', '.join(get_args(InteractionName))}, or "
        "{form: NAME, SETTING: VALUE}, {stacked: [...]} or {parallel: [...]}."
    )


def _form(value: dict[Any, Any], where: str) -> FormPlan:
    name, given = value["form"], {key: of for key, of in value.items() if key != "form"}
    if not isinstance(name, str) or name not in FORMS:
        names = FORMS if given else get_args(InteractionName)
        more = f", which is put together of {COMPOSITIONS[name]}" if given and name in COMPOSITIONS else ""
        raise UserError(f"{where} ({name!r}{more}) must be one of {', '.join(names)}.")
    settings = dict(FORMS[name].settings)
    for key, setting in given.items():
        if key not in settings:
            reads = f"it reads {', '.join(settings)}" if settings else "it has no settings"
            raise UserError(f"{where}: {name} does not read {key!r}; {reads}.")
        wanted = type(settings[key])
        if isinstance(setting, bool) or not isinstance(setting, int | wanted):
            kind = "a whole number" if wanted is int else "a number"
            raise UserError(f"{where}.{key} ({setting!r}) must be {kind}.")
        require_at_least(where, 1 if wanted is int else 0, **{str(key): setting})
        require_at_most(where, MOST_REPEATED if key in REPEATED else MOST, **{str(key): setting})
        settings[key] = setting
    return FormPlan(name, settings)
