"""The inputs of an artefact, as signature.json lists them."""

from dataclasses import asdict, dataclass
from typing import Any, Literal

from pinfm.embeddings.errors import require_types
from pinfm.model.schema import SURFACE, VOCABULARIES, IdType, InputSchema, are_whole_numbers

Scope = Literal["request", "history", "candidate"]
HISTORY = ("item_id", "action", "surface", "timestamp")
TIMES = ("request_timestamp", "history_timestamp", "candidate_created_at")
LENGTHS = ("history_lengths", "candidate_lengths")


@dataclass(frozen=True, kw_only=True)
class Column:
    """One input of the artefact.

    Args:
        name: of the column and of the input.
        dtype: `int64` or `float32`.
        scope: `request` (one value), `history` or `candidate` (a list).
        vocabulary: names that stand for the codes 1, 2, ...; None where values are numbers already.
        width: length of each entry's vector; None where an entry is one value.
        numbered: whether the names are whole numbers: then a number is a name, not a code.
        ids: how the log writes the ids of the column; None where it holds none.
    """

    name: str
    dtype: str
    scope: Scope
    vocabulary: tuple[str, ...] | None = None
    width: int | None = None
    numbered: bool = False
    ids: IdType | None = None

    def __post_init__(self) -> None:
        require_types(self.name, self)

    def to_json(self) -> dict[str, Any]:
        """As signature.json lists it."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Column":
        """The inverse of `to_json`; what an older pinfm wrote says neither `numbered` nor `ids`."""
        names = None if values["vocabulary"] is None else tuple(values["vocabulary"])
        told = {"numbered": are_whole_numbers(names or ()), "ids": "int64" if _holds_ids(values["name"]) else None}
        return cls(**{**told, **values, "vocabulary": names})


def input_columns(schema: InputSchema) -> tuple[Column, ...]:
    """The inputs of a model with this schema, in the order of signature.json."""
    columns = [
        Column(name="user_id", dtype="int64", scope="request", ids=schema.id_type("user_id")),
        Column(name="request_timestamp", dtype="int64", scope="request"),
    ]
    for name in HISTORY:
        columns.append(
            Column(
                name=f"history_{name}",
                dtype="int64",
                scope="history",
                vocabulary=getattr(schema, f"{name}s") if name in VOCABULARIES else None,
                numbered=name in schema.numbered,
                ids=schema.id_type(name) if _holds_ids(name) else None,
            )
        )
    columns.append(Column(name="candidate_item_id", dtype="int64", scope="candidate", ids=schema.id_type("item_id")))
    columns.append(Column(name="candidate_created_at", dtype="int64", scope="candidate"))
    if schema.content_dim:
        width = schema.content_dim
        columns.append(Column(name="candidate_content", dtype="float32", scope="candidate", width=width))
    for feature in schema.features:
        if feature.name == SURFACE:
            columns.append(_surface(schema))
            continue
        dtype = "int64" if feature.kind == "categorical" else "float32"
        columns.append(Column(name=feature.name, dtype=dtype, scope=feature.scope))
    return tuple(columns)


def _surface(schema: InputSchema) -> Column:
    """The request's surface, in the names that its history's surfaces have."""
    numbered = SURFACE in schema.numbered
    return Column(name=SURFACE, dtype="int64", scope="request", vocabulary=schema.surfaces, numbered=numbered)


def _holds_ids(name: str) -> bool:
    return name in ("user_id", "item_id", "history_item_id", "candidate_item_id")
