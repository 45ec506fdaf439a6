"""What tables a model has: one `IdTable` per id space, each a group of sub-tables of equal shape."""

from dataclasses import dataclass, replace
from typing import Literal

from pinfm.embeddings.errors import UserError, require_at_least, require_at_most, require_positive, require_types

Precision = Literal["fp32", "fp16"]
IdsKind = Literal["hashed", "managed"]
ServedPrecision = Literal["fp32", "fp16", "int8", "int4"]
TableOptimizer = Literal["rowwise_adagrad", "adagrad"]
Eviction = Literal["lfu", "lru", "distance_lfu", "time_to_live"]
MapKind = Literal["sorted", "mpzch"]
NewItems = Literal["content", "age", "init"]
Sharding = Literal["auto", "row_wise", "column_wise", "table_wise"]


# Sightings of an id, and changes of a map, which MPZCH counts in 32 bits.
MOST_COUNTED = (1 << 31) - 1
# Of a sub-table: beyond it sizes in bytes soon leave 64 bits.
MOST_VALUES = 1 << 50


@dataclass(frozen=True, kw_only=True)
class ManagedIdsConfig:
    """Rows of their own for ids of which there is no end: who has one, and who loses it.

    Args:
        min_count: sightings after which an id may have a row; before that it shares the fallback row. At 0 the items
            that the dataset has when training starts have theirs from the first step on, the frequent first.
        update_steps: steps between changes of the map.
        eviction: when all rows are taken, who makes room: `lfu`, the ids seen least; `lru`, the least recently seen;
            `distance_lfu`, the smallest ratio of the two; `time_to_live`, those not seen for `time_to_live_updates`,
            and nobody else.
        time_to_live_updates: so many changes of the map without being seen.
        map: `sorted`, which runs anywhere; `mpzch`, which needs a GPU to train, and evicts by `lru` or `time_to_live`
            among the ids whose hashes are near that of the new one. Both are TorchRec's.
        new_items: what the row of a newly admitted item starts from. `content`: what rows of items with content like
            its own have learned; `age`: the mean row of items of its age, as it is when training ends; `init`: as in a
            new table. An item without content takes the second, an item of unknown age the third.
    """

    min_count: int = 2
    update_steps: int = 50
    eviction: Eviction = "distance_lfu"
    time_to_live_updates: int = 100
    map: MapKind = "sorted"
    new_items: NewItems = "content"

    def __post_init__(self) -> None:
        require_types("managed_ids", self)
        require_at_least(
            "managed_ids",
            1,
            update_steps=self.update_steps,
            time_to_live_updates=self.time_to_live_updates,
        )
        require_at_least("managed_ids", 0, min_count=self.min_count)
        require_at_most(
            "managed_ids", MOST_COUNTED, min_count=self.min_count, time_to_live_updates=self.time_to_live_updates
        )
        if self.map == "mpzch" and self.eviction not in ("lru", "time_to_live"):
            raise UserError(
                f"managed_ids.map mpzch does not count sightings, so managed_ids.eviction can't be {self.eviction}; "
                "set it to lru or time_to_live."
            )


@dataclass(frozen=True, kw_only=True)
class ItemTableConfig:
    """The item id tables, shared by history and candidates.

    Args:
        num_hashes: sub-tables, each with its own hash of the id; 8 in the paper.
        rows: rows of each sub-table; 80M in the paper.
        dim: columns of each sub-table; 32 in the paper. An item's vector has num_hashes * dim columns.
        precision: of the rows in training; fp16 rows are rounded stochastically on a GPU, and to the nearest
            number on a CPU, where small steps are lost.
        optimizer: Adagrad with one sum a row, or one a value, which takes as much memory as float32 rows.
        sharding: how each sub-table is cut over the ranks; `auto` leaves it to TorchRec's planner.
        ids: `hashed`: each sub-table hashes all ids to its rows; `managed`: an id has one row, the same in each
            sub-table, as `managed_ids` says.
    """

    num_hashes: int = 8
    rows: int = 100_000
    dim: int = 8
    precision: Precision = "fp32"
    optimizer: TableOptimizer = "rowwise_adagrad"
    sharding: Sharding = "auto"
    ids: IdsKind = "hashed"

    def __post_init__(self) -> None:
        require_types("item_table", self)
        require_at_least("item_table", 1, num_hashes=self.num_hashes, rows=self.rows, dim=self.dim)
        if self.rows * self.dim > MOST_VALUES:
            raise UserError(
                f"item_table.rows ({self.rows}) by item_table.dim ({self.dim}) is more than {MOST_VALUES} values, "
                "4 PiB in fp32, for one sub-table; take fewer."
            )
        if self.ids == "managed" and self.rows < 2:
            raise UserError("item_table.rows must be at least 2 for managed ids: those without a row share the last.")
        if self.sharding == "column_wise" and self.optimizer == "rowwise_adagrad":
            raise UserError(
                "item_table.sharding column_wise would give each part of a row an Adagrad sum of its own; "
                "set item_table.optimizer to adagrad, or take another sharding."
            )


@dataclass(frozen=True, kw_only=True)
class FeatureTableConfig:
    """The tables of the user id and of each categorical feature.

    Two hashes of half the width keep small vocabularies free of collisions: two values share a whole vector with
    probability 1 / rows**2.

    Args:
        num_hashes: sub-tables of each feature.
        dim: columns of a feature's vector, over all of its sub-tables.
        rows_per_value: rows of a sub-table for each distinct value seen in training.
        max_rows: upper bound on the rows of a sub-table.
        user_ids: `hashed`, or `managed` as `item_table.ids` has it.
    """

    num_hashes: int = 2
    dim: int = 16
    rows_per_value: float = 2.0
    max_rows: int = 10_000_000
    user_ids: IdsKind = "hashed"

    def __post_init__(self) -> None:
        require_types("feature_tables", self)
        require_at_least("feature_tables", 1, num_hashes=self.num_hashes, dim=self.dim, max_rows=self.max_rows)
        require_positive("feature_tables", rows_per_value=self.rows_per_value)
        if self.dim % self.num_hashes:
            raise UserError(
                f"feature_tables.num_hashes ({self.num_hashes}) must divide feature_tables.dim ({self.dim})."
            )
        if self.user_ids == "managed" and self.max_rows < 2:
            raise UserError(
                "feature_tables.max_rows must be at least 2 for managed ids: those without a row share the last."
            )


@dataclass(frozen=True, kw_only=True)
class IdTable:
    """One id space and the sub-tables that hold its vectors.

    Args:
        name: the feature; sub-table k is called `{name}_{k}`.
        num_hashes: K, the number of sub-tables.
        rows: rows of each sub-table.
        dim: columns of each sub-table.
        seed: the hash family.
        precision: of the rows in training.
        ids: how an id finds its rows.
    """

    name: str
    num_hashes: int
    rows: int
    dim: int
    seed: int = 0
    precision: Precision = "fp32"
    ids: IdsKind = "hashed"

    def __post_init__(self) -> None:
        require_types("table", self)

    def sub_tables(self) -> list[str]:
        """The names of the sub-tables, which are also their TorchRec feature names."""
        return [f"{self.name}_{k}" for k in range(self.num_hashes)]


def item_table(config: ItemTableConfig) -> IdTable:
    """The table of item ids."""
    return IdTable(
        name="item",
        num_hashes=config.num_hashes,
        rows=config.rows,
        dim=config.dim,
        precision=config.precision,
        ids=config.ids,
    )


def user_table(num_users: int, config: FeatureTableConfig) -> IdTable:
    """The table of user ids, sized by the number of users in the data."""
    return replace(feature_table("user_id", num_users, config), ids=config.user_ids)


def feature_table(name: str, num_values: int, config: FeatureTableConfig) -> IdTable:
    """The table of one categorical feature, sized by the number of its values in training."""
    rows = min(config.max_rows, max(16, round(config.rows_per_value * num_values)))
    return IdTable(name=name, num_hashes=config.num_hashes, rows=rows, dim=config.dim // config.num_hashes)
