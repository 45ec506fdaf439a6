"""A folder of star ratings of films: the settings and the files that MovieLens and MovieTweetings share."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pinfm.embeddings.errors import UserError, require_at_least, require_types
from pinfm.train.data.reading.columns import Column, TimeColumn
from pinfm.train.data.reading.text.layout import Layout
from pinfm.train.data.sampling.rule import MOST_CANDIDATES
from pinfm.train.data.splits.rule import SplitFlags
from pinfm.train.data.tables import RawTables

if TYPE_CHECKING:
    from pinfm.train.data.reading.validate import Validator

DAT = (".dat", ".dat.gz")
MOVIES = (Column("item_id", "count", raw="movieId"), Column("title", "text"), Column("genres", "text"))


def double_colon(*names: str, encoding: str = "utf-8") -> Layout:
    """Returns the layout of a file like `1::1193::5::978300760`, without a header line."""
    return Layout(delimiter="::", names=names, encoding=encoding, quote="")


def rating_columns(user: str = "userId", item: str = "movieId") -> tuple[Column, ...]:
    """Returns the columns of a file of ratings, which calls the two ids so."""
    # A film's number is a count: MovieTweetings writes those of IMDb, which begin with zeros.
    ids = (Column("user_id", "id", raw=user), Column("item_id", "count", raw=item))
    return (*ids, Column("rating", "number"), TimeColumn("timestamp", "time"))


@dataclass(frozen=True, kw_only=True)
class FilmFolder(SplitFlags):
    """Settings of a source of star ratings.

    Args:
        path: folder of the data set.
        like_from: a rating from here on is a `like`, a lower one a `rate`.
        request_gap_minutes: a pause this long between two ratings of a user starts a new request.
        sampled_candidates: above 0, each rating is a request of its own, among so many items drawn from what others
            rated in the 30 days before; the tasks are then `rate` and `like`.
    """

    path: Path
    like_from: float
    request_gap_minutes: int = 30
    sampled_candidates: int = 0

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least(
            "", 0, request_gap_minutes=self.request_gap_minutes, sampled_candidates=self.sampled_candidates
        )
        if self.sampled_candidates > MOST_CANDIDATES:
            raise UserError(f"sampled_candidates ({self.sampled_candidates}) must be at most {MOST_CANDIDATES:,}.")
        self.split_rule()

    def rated_tables(
        self, validator: "Validator", note: str, user_features: tuple[str, ...] = (), has_tags: bool = False
    ) -> RawTables:
        """Makes the raw tables of the staged ones.

        Args:
            validator: its database holds `ratings` and `movies`.
            note: a sentence for the reader of the dataset.
            user_features: categorical columns of a table `users`, where there is one.
            has_tags: whether there is a table `tags`.
        """
        from pinfm.train.data.sources.films.ratings import Ratings

        return Ratings(
            like_from=self.like_from,
            request_gap_minutes=self.request_gap_minutes,
            sampled_candidates=self.sampled_candidates,
            splits=self.split_rule(),
            notes=(note,),
            user_features=user_features,
            has_tags=has_tags,
        ).tables(validator.connection)
