"""Make the index of an exported model again: new items, the same model."""

from pathlib import Path
from typing import Any, Literal

from jsonargparse import ArgumentParser, Namespace

from pinfm.embeddings.errors import UserError
from pinfm.inference.folders import require_model
from pinfm.inference.options import IndexOptions

SUMMARY = "the vectors of a catalogue, beside the model that finds items in it"


def configure(parser: ArgumentParser) -> None:
    """Adds the verb's flags."""
    parser.add_argument("model", type=Path, help="a model folder; its index is replaced")
    add_index_flags(parser, "--items", required=True)


def run(args: Namespace) -> dict[str, Any]:
    """Makes the index; the report holds what index.json says."""
    # A namespace has a method of that name.
    options = index_options(args["items"], args.index_attributes, args.index_kind, "--items")
    require_model(args.model)

    from pinfm.inference.artifact import load
    from pinfm.inference.index.build import write_index

    assert options is not None
    told = write_index(load(args.model), options)
    print(index_sentence(args.model, told))
    return {"model": str(args.model), "index": told}


def add_index_flags(parser: ArgumentParser, flag: str, *, required: bool) -> None:
    """The flags of an index, for this verb and for `export`."""
    parser.add_argument(
        flag,
        type=Path if required else Path | None,
        **({"required": True} if required else {"default": None}),
        help="a Parquet table of the items that can be found (docs/retrieval.md): item_id, and what the model reads of "
        "candidates, such as created_at",
    )
    parser.add_argument(
        "--index-attributes",
        type=tuple[str, ...],
        default=(),
        help="columns of that table, whole numbers, that searches may filter by: '[shop, language]'",
    )
    parser.add_argument(
        "--index-kind",
        choices=["auto", "exact", "faiss"],
        default="auto",
        help="exact looks at every item; faiss, of the extra `faiss` and for Python alone, into the nearest lists, as "
        "many as find 99 % of the exact top 100; auto takes it from two million items on",
    )


def index_options(
    items: Path | None, attributes: tuple[str, ...], kind: Literal["auto", "exact", "faiss"], flag: str
) -> IndexOptions | None:
    """What the flags say; None without an index.

    Raises:
        UserError: attributes without an index, or a table that is not there.
    """
    if items is None:
        if attributes or kind != "auto":
            name = "--index-attributes" if attributes else "--index-kind"
            raise UserError(f"{name} says what an index is; give {flag} ITEMS.parquet too.")
        return None
    if not items.exists():
        raise UserError(f"{flag} {items} does not exist; give a Parquet file of items, or a folder of them.")
    return IndexOptions(items=items, attributes=tuple(attributes), kind=kind)


def index_sentence(model: Path, told: dict[str, Any]) -> str:
    """What was written, and what was left out."""
    left_out = f"; left out: {told['without_row']} without a row in the tables" if told["without_row"] else ""
    twice = f"; {told['duplicates']} rows of items that were there already" if told["duplicates"] else ""
    found = f" in lists, recall@100 {told['recall_at_100']:.4f}" if told["kind"] == "faiss" else ""
    return f"{model}/index: {told['items']} items{found}{left_out}{twice}"
