"""A simulated log of any size: the world of `simulated/`."""

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pinfm.embeddings.errors import UserError, require_types
from pinfm.model.schema import Feature
from pinfm.train.data.splits.rule import SplitRule
from pinfm.train.data.tables import RawTables

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator
    from pinfm.train.data.sources.simulated.world import World


@dataclass(frozen=True, kw_only=True)
class Simulate:
    """A simulated world, the same for the same flags on every machine.

    Args:
        num_users: users.
        num_items: items; 40 % of them arrive during the days of the world, or nearly all where they live hours.
        num_days: days of activity, from 2024-01-01; the last two tenths are validation and test.
        requests_per_user: mean number of requests of a user.
        candidates_per_request: most items of a request.
        content_dim: length of the content vectors; 0 for none.
        item_life_hours: median half-life of the attention that an item gets, for items that arrive all the time and
            live hours, as news do; 0 for items that live for weeks.
        burst_scale: of items that live hours: mean height of their bursts, in log-odds of a click; 0 for none.
        num_surfaces: where requests are made, each as often as the next.
        seed: seed of all randomness.
    """

    name: ClassVar[str] = "simulate"

    num_users: int = 2000
    num_items: int = 5000
    num_days: int = 30
    requests_per_user: float = 30.0
    candidates_per_request: int = 10
    content_dim: int = 32
    item_life_hours: float = 0.0
    burst_scale: float = 0.0
    num_surfaces: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        require_types("", self)
        least = {
            "num_users": 1,
            "num_items": 1,
            "num_days": 3,
            "candidates_per_request": 1,
            "content_dim": 0,
            "num_surfaces": 1,
            "seed": 0,
        }
        for field, value in least.items():
            if getattr(self, field) < value:
                raise UserError(f"{field} ({getattr(self, field)}) must be at least {value}; give a larger number")
        if not 1 <= self.requests_per_user <= 1e5:
            raise UserError(f"requests_per_user ({self.requests_per_user}) must lie between 1 and 100,000; change it")
        if self.num_days > 365:
            raise UserError(f"num_days ({self.num_days}) must be at most 365; ask for more requests_per_user instead")
        if self.item_life_hours != 0 and not 0.5 <= self.item_life_hours <= 168:
            raise UserError(
                f"item_life_hours ({self.item_life_hours}) must lie between 0.5 and 168, or be 0 for items that live "
                "for weeks"
            )
        if not 0 <= self.burst_scale <= 3:
            raise UserError(f"burst_scale ({self.burst_scale}) must lie between 0 and 3; change it")
        if self.burst_scale and not self.item_life_hours:
            raise UserError(
                f"burst_scale ({self.burst_scale}) is of items that live hours; give item_life_hours, such as 6, too"
            )

    def world(self) -> "World":
        """The world that is written down."""
        from pinfm.train.data.sources.simulated.items import WorldSize
        from pinfm.train.data.sources.simulated.world import World

        size = WorldSize(**{field.name: getattr(self, field.name) for field in fields(WorldSize)})
        return World(size, self.seed)

    def require_inputs(self) -> None:
        """See `tables.Source`: there are none."""

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        from pinfm.train.data.sources.simulated.files import ACTIONS, write_items, write_log
        from pinfm.train.data.sources.simulated.items import DAY, START

        world = self.world()
        write_items(world.items, self.content_dim, work / "items.parquet")
        counts = write_log(world, work)
        for table in ("items", "events", "impressions"):
            validator.read(f"simulated_{table}", work / f"{table}.parquet")
        test_days = max(1, self.num_days // 10)
        return RawTables(
            events="simulated_events",
            items="simulated_items",
            impressions="simulated_impressions",
            actions=ACTIONS,
            positive_actions=("click", "save"),
            tasks=ACTIONS,
            features=(
                Feature(name="position", kind="dense", scope="candidate"),
                Feature(name="hour", kind="categorical", scope="request"),
            ),
            item_attributes=("topic",),
            has_content=self.content_dim > 0,
            splits=SplitRule(
                validation_start=START + (self.num_days - 2 * test_days) * DAY,
                test_start=START + (self.num_days - test_days) * DAY,
            ),
            notes=(f"Simulated with seed {self.seed}; the formulae are in docs/data.md.",),
            counts=counts,
        )
