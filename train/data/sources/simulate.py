"""A simulated log of any size: the world of `world.py`."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pinfm.embeddings.errors import UserError, require_types
from pinfm.model.schema import Feature
from pinfm.train.data.splits.rule import SplitRule
from pinfm.train.data.tables import RawTables

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator


@dataclass(frozen=True, kw_only=True)
class Simulate:
    """A simulated world, the same for the same flags on every machine.

    Args:
        num_users: users.
        num_items: items; 40 % of them arrive during the days of the world.
        num_days: days of activity, from 2024-01-01; the last two tenths are validation and test.
        requests_per_user: mean number of requests of a user.
        candidates_per_request: most items of a request.
        content_dim: length of the content vectors; 0 for none.
        seed: seed of all randomness.
    """

    name: ClassVar[str] = "simulate"

    num_users: int = 2000
    num_items: int = 5000
    num_days: int = 30
    requests_per_user: float = 30.0
    candidates_per_request: int = 10
    content_dim: int = 32
    seed: int = 0

    def __post_init__(self) -> None:
        require_types("", self)
        least = {
            "num_users": 1,
            "num_items": 1,
            "num_days": 3,
            "candidates_per_request": 1,
            "content_dim": 0,
            "seed": 0,
        }
        for field, value in least.items():
            if getattr(self, field) < value:
                raise UserError(f"{field} ({getattr(self, field)}) must be at least {value}; give a larger number")
        if not 1 <= self.requests_per_user <= 1e5:
            raise UserError(f"requests_per_user ({self.requests_per_user}) must lie between 1 and 100,000; change it")
        if self.num_days > 365:
            raise UserError(f"num_days ({self.num_days}) must be at most 365; ask for more requests_per_user instead")

    def require_inputs(self) -> None:
        """See `tables.Source`: there are none."""

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        from pinfm.train.data.sources.simulated_files import ACTIONS, write_items, write_log
        from pinfm.train.data.sources.world import DAY, START, World, WorldSize

        size = WorldSize(
            num_users=self.num_users,
            num_items=self.num_items,
            num_days=self.num_days,
            requests_per_user=self.requests_per_user,
            candidates_per_request=self.candidates_per_request,
            content_dim=self.content_dim,
        )
        world = World(size, self.seed)
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
