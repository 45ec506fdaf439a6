"""What a model reads: the vocabularies, tasks and features that a prepared dataset fixes and an artefact repeats."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

from pinfm.embeddings.errors import UserError, require_at_least, require_choice, require_types
from pinfm.model.live_counts import LiveCountsSpec, live_counts_from_json
from pinfm.model.written import INTEGER

# Columns of our own in the files of requests and scores, beside the features and the tasks.
RESERVED_PREFIXES = ("history_", "candidate_", "label_", "expected_")
RESERVED_TASKS = ("request", "request_id", "user_id", "item_id")
# Inputs of our own, and the item tables' name among the tables.
RESERVED_FEATURES = ("user_id", "request_timestamp", "item")

# The feature that says where a request is made: `prepare` makes it, and the tower's candidates read it too.
SURFACE = "surface"

# How a log writes an id. Inside, each is an int64: `uint64` by two's complement, `text` by its hash (docs/data.md).
IdType = Literal["int64", "uint64", "text"]
# Their names are in `actions` and `surfaces`.
Vocabulary = Literal["action", "surface"]
VOCABULARIES: tuple[Vocabulary, ...] = get_args(Vocabulary)


@dataclass(frozen=True, kw_only=True)
class Feature:
    """One input feature of the ranker.

    Args:
        name: column name in the impressions table, and input name of the exported module.
        kind: `dense` (float32) or `categorical` (any int64; 0 means missing).
        scope: `request` when all candidates of a request share the value, else `candidate`.
        mean: mean of sign(x) * log(1 + |x|) over the training split; dense features only.
        std: standard deviation of the same; dense features only, 1 where the feature is constant.
        num_values: distinct values in the training split; categorical features only.
    """

    name: str
    kind: Literal["dense", "categorical"]
    scope: Literal["request", "candidate"]
    mean: float = 0.0
    std: float = 1.0
    num_values: int = 0

    def __post_init__(self) -> None:
        require_types("feature", self)
        # Names become inputs of the exported module, beside its own.
        taken = self.name in RESERVED_FEATURES or self.name.startswith(RESERVED_PREFIXES)
        if taken or not self.name.isidentifier():
            raise UserError(
                f"feature name {self.name!r} must consist of letters, digits and underscores, and must not be "
                f"{', '.join(RESERVED_FEATURES)}, {' or '.join(f'{prefix}*' for prefix in RESERVED_PREFIXES)}; "
                "rename the column."
            )
        if self.name == SURFACE and (self.kind, self.scope) != ("categorical", "request"):
            raise UserError(
                f"feature {SURFACE!r} is the request's surface, categorical and of request scope, not {self.kind} of "
                f"{self.scope} scope; rename the column."
            )


@dataclass(frozen=True, kw_only=True)
class InputSchema:
    """The inputs and outputs of a model.

    Args:
        actions: action names; the code of `actions[i]` is i + 1, and 0 means unknown.
        positive_actions: the actions that count as targets in pretraining (A_pos of the paper).
        surfaces: surface names, coded the same way.
        tasks: one probability each.
        features: the ranker's features, in input order.
        content_dim: length of an item's content vector; 0 when items have none.
        numbered: `action` and `surface`, where its names are whole numbers by what the whole log holds, so that
            2, 2.0 and "2" are one name.
        ids: how the log writes `user_id`, `item_id` and `request_id`, where it is not int64.
        live_counts: which of the dense candidate features are counters, and of what; None where none are.
    """

    actions: tuple[str, ...]
    positive_actions: tuple[str, ...]
    surfaces: tuple[str, ...]
    tasks: tuple[str, ...]
    features: tuple[Feature, ...]
    content_dim: int = 0
    numbered: tuple[str, ...] = ()
    ids: Mapping[str, IdType] = field(default_factory=dict)
    live_counts: LiveCountsSpec | None = None

    def __post_init__(self) -> None:
        require_types("schema", self)
        require_at_least("schema", 0, content_dim=self.content_dim)
        for name, kind in self.ids.items():
            require_choice(f"schema.ids.{name}", kind, IdType)
        for name in self.numbered:
            require_choice("schema.numbered", name, Vocabulary)
        for action in self.positive_actions:
            if action not in self.actions:
                raise UserError(f"schema.positive_actions holds {action!r}, which is none of the actions.")
        for task in self.tasks:
            if task in RESERVED_TASKS:
                raise UserError(f"a task must not be called {task}, which is a column of the scores; rename it.")
        for name, features in Counter(feature.name for feature in self.features).items():
            if features > 1:
                raise UserError(f"schema.features names {name} twice; rename one of the columns.")
        dense = {feature.name for feature in self.of("dense", "candidate")}
        for name in self.live_counts.names() if self.live_counts else ():
            if name not in dense:
                raise UserError(f"schema.live_counts has the counter {name}, which is none of the features.")

    def of(self, kind: str, scope: str) -> tuple[Feature, ...]:
        """The features of one kind and scope, in input order."""
        return tuple(f for f in self.features if f.kind == kind and f.scope == scope)

    @property
    def has_request_surface(self) -> bool:
        """Whether requests say where they are made; older datasets, and logs without surfaces, do not."""
        return any(feature.name == SURFACE for feature in self.features)

    def id_type(self, name: str) -> IdType:
        """How the log writes `user_id`, `item_id` or `request_id`."""
        return self.ids.get(name, "int64")

    def positive_codes(self) -> list[int]:
        """The codes of the positive actions."""
        return [self.actions.index(action) + 1 for action in self.positive_actions]


def require_content(setting: str, schema: InputSchema) -> None:
    """For settings that read content vectors.

    Args:
        setting: its name, where it is on.
        schema: of the dataset.

    Raises:
        UserError: the dataset's items have none.
    """
    if not schema.content_dim:
        raise UserError(
            f"{setting} is on, but the dataset's items have no content vectors; switch it off with "
            f"--{setting} false, or prepare items that have a content column."
        )


def are_whole_numbers(names: Sequence[str]) -> bool:
    """Whether all names are whole numbers, each in the one spelling that a number has."""
    return bool(names) and all(re.fullmatch(INTEGER, name) and name != "-0" for name in names)


def schema_from_json(values: Mapping[str, Any]) -> InputSchema:
    """The inverse of `dataclasses.asdict` on an InputSchema, with lists where JSON has no tuples.

    What was written before `numbered` existed does not hold it: there the names themselves decide, as they did then.
    """
    vocabularies = {f"{name}s": tuple(values[f"{name}s"]) for name in VOCABULARIES}
    told_by_names = [name for name in VOCABULARIES if are_whole_numbers(vocabularies[f"{name}s"])]
    return InputSchema(
        **vocabularies,
        positive_actions=tuple(values["positive_actions"]),
        tasks=tuple(values["tasks"]),
        features=tuple(Feature(**feature) for feature in values["features"]),
        content_dim=values["content_dim"],
        numbered=tuple(values.get("numbered", told_by_names)),
        ids=dict(values.get("ids", {})),
        live_counts=live_counts_from_json(values.get("live_counts")),
    )
