"""MovieLens: the `::` files of ML-1M, the CSV files of the later sets, and ML-1M rebuilt in order of time."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pinfm.train.data.reading.columns import Column
from pinfm.train.data.reading.files import find_table, need_table
from pinfm.train.data.sources.films.folder import DAT, MOVIES, FilmFolder, double_colon, rating_columns
from pinfm.train.data.tables import RawTables

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator

REBUILT = "ratings_all_users_rebuilt"
_CSV = (".csv", ".csv.gz")


@dataclass(frozen=True, kw_only=True)
class MovieLens(FilmFolder):
    """A MovieLens folder: ratings.dat, movies.dat, users.dat; or ratings.csv, movies.csv, tags.csv; perhaps .gz."""

    name: ClassVar[str] = "movielens"

    like_from: float = 4.0

    def require_inputs(self) -> None:
        """See `tables.Source`."""
        if find_table(self.path, REBUILT, _CSV) is None:
            need_table(self.path, "ratings", (*_CSV, *DAT))
        need_table(self.path, "movies", (*_CSV, *DAT))

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        self._stage_ratings(validator)
        has_users, has_tags = self._stage_users(validator), self._stage_tags(validator)
        return self.rated_tables(
            validator,
            "MovieLens, Harper and Konstan, 2015: research use; see the README of the data set.",
            user_features=("gender", "age", "occupation") if has_users else (),
            has_tags=has_tags,
        )

    def _stage_ratings(self, validator: "Validator") -> None:
        user, item = "userId", "movieId"
        rebuilt = find_table(self.path, REBUILT, _CSV)
        if rebuilt is not None:
            user, item = "user_id", "movie_id"
            validator.read("ratings_raw", rebuilt)
        elif official := find_table(self.path, "ratings", DAT):
            validator.read("ratings_raw", official, double_colon(user, item, "rating", "timestamp"))
        else:
            validator.read("ratings_raw", need_table(self.path, "ratings", (*_CSV, *DAT)))
        validator.stage("ratings", "ratings_raw", rating_columns(user, item))
        if movies := find_table(self.path, "movies", DAT):
            validator.read("movies_raw", movies, double_colon("movieId", "title", "genres", encoding="latin-1"))
        else:
            validator.read("movies_raw", need_table(self.path, "movies", (*_CSV, *DAT)))
        validator.stage("movies", "movies_raw", MOVIES, unique=("item_id",))

    def _stage_users(self, validator: "Validator") -> bool:
        path = find_table(self.path, "users", DAT)
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
        tagged = tuple(column for column in rating_columns() if column.name != "rating")
        validator.stage("tags", "tags_raw", tagged)
        return True
