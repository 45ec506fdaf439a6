"""MovieLens: the `::` files of ML-1M, the CSV files of the later sets, and ML-1M rebuilt in order of time."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinfm.embeddings.errors import require_at_least
from pinfm.train.data.reading.columns import Column
from pinfm.train.data.reading.files import Layout, find_table, need_table
from pinfm.train.data.tables import RawTables, SplitRule

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator

REBUILT = "ratings_all_users_rebuilt"
_CSV = (".csv", ".csv.gz")
_DAT = (".dat", ".dat.gz")


def double_colon(*names: str, encoding: str = "utf-8") -> Layout:
    """Returns the layout of a file like `1::1193::5::978300760`, without a header line."""
    return Layout(delimiter="::", names=names, encoding=encoding, quote="")


@dataclass(frozen=True, kw_only=True)
class MovieLens:
    """A MovieLens folder: ratings.dat, movies.dat, users.dat, or ratings.csv, movies.csv, tags.csv, each perhaps .gz.

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
    like_from: float = 4.0
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
        return "movielens"

    def require_inputs(self) -> None:
        """See `tables.Source`."""
        if find_table(self.path, REBUILT, _CSV) is None:
            need_table(self.path, "ratings", (*_CSV, *_DAT))
        need_table(self.path, "movies", (*_CSV, *_DAT))

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        from pinfm.train.data.sources.films.ratings import Ratings

        self._stage_ratings(validator)
        has_users, has_tags = self._stage_users(validator), self._stage_tags(validator)
        return Ratings(
            like_from=self.like_from,
            request_gap_minutes=self.request_gap_minutes,
            sampled_candidates=self.sampled_candidates,
            splits=self._splits(),
            notes=("MovieLens, Harper and Konstan, 2015: research use; see the README of the data set.",),
            user_features=("gender", "age", "occupation") if has_users else (),
            has_tags=has_tags,
        ).tables(validator.connection)

    def _stage_ratings(self, validator: "Validator") -> None:
        user, item = "userId", "movieId"
        rebuilt = find_table(self.path, REBUILT, _CSV)
        if rebuilt is not None:
            user, item = "user_id", "movie_id"
            validator.read("ratings_raw", rebuilt)
        elif official := find_table(self.path, "ratings", _DAT):
            validator.read("ratings_raw", official, double_colon(user, item, "rating", "timestamp"))
        else:
            validator.read("ratings_raw", need_table(self.path, "ratings", (*_CSV, *_DAT)))
        columns = (Column("user_id", "id", raw=user), Column("item_id", "id", raw=item), *_RATED)
        validator.stage("ratings", "ratings_raw", columns)
        if movies := find_table(self.path, "movies", _DAT):
            validator.read("movies_raw", movies, double_colon("movieId", "title", "genres", encoding="latin-1"))
        else:
            validator.read("movies_raw", need_table(self.path, "movies", (*_CSV, *_DAT)))
        validator.stage("movies", "movies_raw", MOVIES, unique=("item_id",))

    def _stage_users(self, validator: "Validator") -> bool:
        path = find_table(self.path, "users", _DAT)
        if path is None:
            return False
        validator.read("users_raw", path, double_colon("userId", "gender", "age", "occupation", "zip"))
        columns = (Column("user_id", "id", raw="userId"), Column("gender", "choice", choices=("F", "M")))
        numbers = (Column("age", "id"), Column("occupation", "id"))
        validator.stage("users_read", "users_raw", (*columns, *numbers), unique=("user_id",))
        validator.connection.execute(
            "CREATE VIEW users AS SELECT user_id, CASE gender WHEN 'F' THEN 1 ELSE 2 END AS gender, "
            "age + 1 AS age, occupation + 1 AS occupation FROM users_read"
        )
        return True

    def _stage_tags(self, validator: "Validator") -> bool:
        path = find_table(self.path, "tags", _CSV)
        if path is None:
            return False
        validator.read("tags_raw", path)
        columns = (Column("user_id", "id", raw="userId"), Column("item_id", "id", raw="movieId"), _RATED[1])
        validator.stage("tags", "tags_raw", columns)
        return True


_RATED = (Column("rating", "number"), Column("timestamp", "time"))
MOVIES = (Column("item_id", "id", raw="movieId"), Column("title", "text"), Column("genres", "text"))
