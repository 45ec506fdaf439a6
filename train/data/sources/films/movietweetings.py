"""MovieTweetings: ratings from 0 to 10 that people tweeted, with films that arrive while they are rated."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinfm.embeddings.errors import require_at_least
from pinfm.train.data.reading.columns import Column
from pinfm.train.data.reading.files import need_table
from pinfm.train.data.sources.films.movielens import MOVIES, double_colon
from pinfm.train.data.tables import RawTables, SplitRule

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator

_DAT = (".dat", ".dat.gz")
_RATINGS = (
    Column("user_id", "id", raw="userId"),
    Column("item_id", "id", raw="movieId"),
    Column("rating", "number"),
    Column("timestamp", "time"),
)


@dataclass(frozen=True, kw_only=True)
class MovieTweetings:
    """A MovieTweetings folder: ratings.dat and movies.dat, each perhaps .gz.

    Args:
        path: the folder.
        like_from: a rating from here on is a `like`, a lower one a `rate`.
        request_gap_minutes: a pause this long between two ratings of a user starts a new request.
        sampled_candidates: above 0, each rating is a request of its own, among so many items drawn from what others
            rated in the 30 days before; the tasks are then `rate` and `like`.
        validation_start: first day of validation, YYYY-MM-DD in UTC; by default 80 % of the ratings lie before it.
        test_start: first day of test, YYYY-MM-DD in UTC; by default 90 % of the ratings lie before it.
    """

    path: Path
    like_from: float = 8.0
    request_gap_minutes: int = 30
    sampled_candidates: int = 0
    validation_start: str | None = None
    test_start: str | None = None

    def __post_init__(self) -> None:
        require_at_least("", 0, sampled_candidates=self.sampled_candidates)
        self._splits()

    def _splits(self) -> SplitRule:
        return SplitRule.from_dates(self.validation_start, self.test_start)

    @property
    def name(self) -> str:
        """Name of the source in `dataset.json`."""
        return "movietweetings"

    def require_inputs(self) -> None:
        """See `tables.Source`."""
        self._files()

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        from pinfm.train.data.sources.films.ratings import Ratings

        ratings, movies = self._files()
        validator.read("ratings_raw", ratings, double_colon("userId", "movieId", "rating", "timestamp"))
        validator.stage("ratings", "ratings_raw", _RATINGS)
        validator.read("movies_raw", movies, double_colon("movieId", "title", "genres"))
        validator.stage("movies", "movies_raw", MOVIES, unique=("item_id",))
        return Ratings(
            like_from=self.like_from,
            request_gap_minutes=self.request_gap_minutes,
            sampled_candidates=self.sampled_candidates,
            splits=self._splits(),
            notes=("MovieTweetings, Dooms et al., CrowdRec 2013, MIT licence.",),
        ).tables(validator.connection)

    def _files(self) -> tuple[Path, Path]:
        return need_table(self.path, "ratings", _DAT), need_table(self.path, "movies", _DAT)
