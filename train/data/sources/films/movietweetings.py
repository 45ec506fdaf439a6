"""MovieTweetings: ratings from 0 to 10 that people tweeted, with films that arrive while they are rated."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pinfm.train.data.reading.files import need_table
from pinfm.train.data.sources.films.folder import DAT, MOVIES, FilmFolder, double_colon, rating_columns
from pinfm.train.data.tables import RawTables

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator


@dataclass(frozen=True, kw_only=True)
class MovieTweetings(FilmFolder):
    """A MovieTweetings folder: ratings.dat and movies.dat, each perhaps .gz."""

    name: ClassVar[str] = "movietweetings"

    like_from: float = 8.0

    def require_inputs(self) -> None:
        """See `tables.Source`."""
        self._files()

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        ratings, movies = self._files()
        validator.read("ratings_raw", ratings, double_colon("userId", "movieId", "rating", "timestamp"))
        validator.stage("ratings", "ratings_raw", rating_columns())
        validator.read("movies_raw", movies, double_colon("movieId", "title", "genres"))
        validator.stage("movies", "movies_raw", MOVIES, unique=("item_id",))
        return self.rated_tables(validator, "MovieTweetings, Dooms et al., CrowdRec 2013, MIT licence.")

    def _files(self) -> tuple[Path, Path]:
        return need_table(self.path, "ratings", DAT), need_table(self.path, "movies", DAT)
