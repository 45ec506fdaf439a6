"""Logs of many kinds to rank on: three that happened, and simulated worlds that differ from each other in one thing."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from benchmarks.parts.quality.runs import prepared
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.films.movietweetings import MovieTweetings
from pinfm.train.data.sources.kuairand import KuaiRand
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.tables import Source


@dataclass(frozen=True, kw_only=True)
class RankingWorld:
    """A log to rank on.

    Args:
        told: what it is, for the reader of the table.
        task: that is told.
        source: the folder of shared data, which holds `ml-1m` and `movietweetings` -> where the log comes from.
        finetune: flags of every `pinfm finetune` on it.
    """

    told: str
    task: str
    source: Callable[[Path], Source]
    finetune: tuple[str, ...] = ()

    def prepare(self, data: Path, out: Path) -> Path:
        """The dataset, prepared once, with live counters of the candidate in every row."""
        return prepared(self.source(data), out, live_counts=("item",))


def _simulated(
    *,
    num_users: int = 1000,
    num_items: int = 1500,
    num_days: int = 20,
    requests_per_user: float = 6.0,
    candidates_per_request: int = 10,
    item_life_hours: float = 0.0,
    burst_scale: float = 0.0,
    num_surfaces: int = 3,
) -> Callable[[Path], Source]:
    world = Simulate(
        num_users=num_users,
        num_items=num_items,
        num_days=num_days,
        requests_per_user=requests_per_user,
        candidates_per_request=candidates_per_request,
        item_life_hours=item_life_hours,
        burst_scale=burst_scale,
        num_surfaces=num_surfaces,
    )
    return lambda data: world


WORLDS = {
    "kuairand": RankingWorld(told="KuaiRand-Pure", task="click", source=lambda data: KuaiRand()),
    # Most users rate all their films in one sitting; a longer pause would leave them one request and no history.
    "ml1m": RankingWorld(
        told="MovieLens-1M as ranking",
        task="like",
        source=lambda data: MovieLens(path=data / "ml-1m", request_gap_minutes=1),
    ),
    "movietweetings": RankingWorld(
        told="MovieTweetings",
        task="rate",
        source=lambda data: MovieTweetings(path=data / "movietweetings", sampled_candidates=20),
    ),
    "slates": RankingWorld(
        told="slates of up to 20, items live weeks",
        task="click",
        source=_simulated(candidates_per_request=20, requests_per_user=4.0),
    ),
    "hours": RankingWorld(
        told="items live 8 hours",
        task="click",
        source=_simulated(num_items=2000, num_days=8, item_life_hours=8.0, burst_scale=0.5),
    ),
    "bursts": RankingWorld(
        told="items live 4 hours, with great bursts",
        task="click",
        source=_simulated(num_items=2000, num_days=6, item_life_hours=4.0, burst_scale=2.0),
    ),
    "few_events": RankingWorld(
        told="about four events a user",
        task="click",
        source=_simulated(num_users=5000, requests_per_user=1.3),
    ),
    "few_labels": RankingWorld(
        told="a tenth of the requests have labels",
        task="click",
        source=_simulated(num_users=2000, requests_per_user=10.0),
        finetune=("--finetune.request_share", "0.1"),
    ),
    "many_surfaces": RankingWorld(
        told="24 surfaces",
        task="click",
        source=_simulated(num_surfaces=24),
    ),
}
# The others need nothing beside the package.
IN_FOLDERS = ("ml1m", "movietweetings")
