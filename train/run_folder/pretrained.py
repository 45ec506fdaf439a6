"""What a pretraining run must have in common with the fine-tuning that starts from it."""

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.specs import IdTable, ManagedIdsConfig
from pinfm.model.config import TowerConfig
from pinfm.model.schema import InputSchema
from pinfm.model.stored.run_folder import RunFolder

# Under other settings the tower's weights would mean something else, or a part of them would be left behind.
OF_THE_TOWER = ("num_layers", "num_heads", "mlp", "attention_gate", "positions", "time", "request_time", "heads")
# The rows would mean other items under another hash, another map or another size.
OF_THE_TABLE = ("num_hashes", "rows", "dim", "seed", "ids")
# Each map, and each policy, remembers other things.
OF_THE_MAP = ("map", "eviction")
# The tower knows them by code alone, so another order of names would fit and mean nothing.
CODES = ("actions", "surfaces")


def require_compatible(
    pretrained: RunFolder, tower: TowerConfig, table: IdTable, schema: InputSchema, managed_ids: ManagedIdsConfig
) -> None:
    """A fine-tuning run must have the tower, the item table and the codes that it starts from.

    Args:
        pretrained: the pretraining run.
        tower: of the fine-tuning run.
        table: its item ids'.
        schema: its dataset's.
        managed_ids: its maps'.

    Raises:
        UserError: names the first difference.
    """
    if pretrained.kind != "pretrain":
        raise UserError(f"{pretrained.path} is a {pretrained.kind} run; give a run of `pinfm pretrain`.")
    for name in CODES:
        theirs, ours = getattr(pretrained.schema, name), getattr(schema, name)
        if theirs != ours:
            raise UserError(
                f"{pretrained.path} was pretrained with {name} {list(theirs)}, the dataset has {list(ours)}; "
                "pretrain on data with the same vocabulary."
            )
    require_same_ids(f"{pretrained.path} was pretrained on", pretrained.schema, "the dataset has", schema, "item_id")
    settings = [
        *((f"tower.{name}", getattr(pretrained.model.tower, name), getattr(tower, name)) for name in OF_THE_TOWER),
        *((f"item_table.{name}", getattr(pretrained.item_table, name), getattr(table, name)) for name in OF_THE_TABLE),
    ]
    if table.ids == "managed":
        # Of an older pinfm they say nothing, and no map could be read.
        theirs = pretrained.manifest["config"].get("managed_ids", {})
        settings += [
            (f"managed_ids.{name}", theirs.get(name, "of an older pinfm"), getattr(managed_ids, name))
            for name in OF_THE_MAP
        ]
    for name, theirs, ours in settings:
        if theirs != ours:
            raise UserError(f"{pretrained.path} was pretrained with {name} {theirs}, not {ours}; use the same.")


def require_same_ids(one: str, schema: InputSchema, other: str, others: InputSchema, name: str) -> None:
    """Raises UserError where two schemas write an id differently: the same item would be two."""
    ours, theirs = schema.id_type(name), others.id_type(name)
    if ours != theirs:
        raise UserError(
            f"{one} {name} as {ours}, {other} {name} as {theirs}; prepare both alike (--text-ids '[{name}]' reads "
            "integers as text)."
        )
