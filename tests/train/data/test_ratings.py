"""MovieLens in its three layouts and MovieTweetings: small files, and the counts of the real ones."""

import gzip
from pathlib import Path

import numpy as np
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.prepare import PrepareOptions, prepare
from pinfm.train.data.sources.films.movielens import MovieLens
from pinfm.train.data.sources.films.movietweetings import MovieTweetings

RATINGS = [(1, 10, 5, 1000), (1, 11, 3, 1000), (1, 12, 4, 1060), (2, 10, 2, 9000), (1, 13, 5, 9000), (2, 13, 5, 9500)]
MOVIES = [
    (10, "Amélie (2001)", "Comedy|Romance"),
    (11, "Heat", "Crime"),
    (12, "M (1931)", "(no genres listed)"),
    (14, "Z (1969)", ""),
]


def lines(rows, delimiter: str, header: str = "") -> str:
    return "\n".join([*([header] if header else []), *(delimiter.join(map(str, row)) for row in rows), ""])


def write(folder: Path, layout: str) -> Path:
    if layout == "csv":
        (folder / "ratings.csv").write_text(lines(RATINGS, ",", "userId,movieId,rating,timestamp"))
        with gzip.open(folder / "movies.csv.gz", "wt", encoding="utf-8") as file:
            file.write(lines(MOVIES, ",", "movieId,title,genres"))
        (folder / "tags.csv").write_text("userId,movieId,tag,timestamp\n1,10,odd,1000\n")
        return folder
    (folder / "movies.dat").write_bytes(lines(MOVIES, "::").encode("latin-1"))
    if layout == "dat":
        (folder / "ratings.dat").write_text(lines(RATINGS, "::"))
        (folder / "users.dat").write_text("1::F::25::3::0\n2::M::1::0::0\n")
    else:
        rebuilt = lines(sorted((*row, 1) for row in RATINGS), ",", "user_id,movie_id,rating,timestamp,exact")
        (folder / "ratings_all_users_rebuilt.csv").write_text(rebuilt)
    return folder


def prepared(source, folder: Path) -> PreparedDataset:
    prepare(source, folder / "out", PrepareOptions(num_buckets=1))
    return PreparedDataset.open(folder / "out")


@pytest.mark.parametrize("layout", ["csv", "dat", "rebuilt"])
def test_each_layout_gives_the_same_ratings(tmp_path, layout):
    dataset = prepared(MovieLens(path=write(tmp_path, layout)), tmp_path)
    events = dataset.events(0).to_pandas()
    rated = events[events.action != 3]
    assert rated.item_id.tolist() == [10, 11, 12, 13, 10, 13]
    assert rated.action.tolist() == [2, 1, 2, 2, 1, 2]
    requests = [row for split in dataset.info.splits for row in dataset.requests(split, 0).to_pylist()]
    found = sorted((row["user_id"], row["item_id"], row["label_like"]) for row in requests)
    assert found == [(1, [10, 11, 12], [True, False, True]), (1, [13], [True]), (2, [10, 13], [False, True])]
    items = dataset.items().to_pandas().set_index("item_id")
    assert items.created_at.tolist() == [1000, 1000, 1060, 9000, 9500]  # Z was never rated: born when the data end
    assert items.year.tolist() == [2001, 0, 1931, 0, 1969]
    assert items.genre.tolist() == [1, 2, 0, 0, 0]
    assert items.content.map(list).tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0], [0, 0, 0], [0, 0, 0]]


def test_tags_are_events_after_the_rating(tmp_path):
    dataset = prepared(MovieLens(path=write(tmp_path, "csv")), tmp_path)
    assert dataset.info.schema.actions == ("rate", "like", "tag")
    assert dataset.events(0).to_pandas().action.tolist()[:3] == [2, 1, 3]


def test_users_are_request_features(tmp_path):
    dataset = prepared(MovieLens(path=write(tmp_path, "dat")), tmp_path)
    request = next(row for row in dataset.requests("train", 0).to_pylist() if row["user_id"] == 1)
    assert (request["gender"], request["age"], request["occupation"]) == (1, 26, 4)


def test_splits_may_be_dates(tmp_path):
    source = MovieLens(path=write(tmp_path, "dat"), validation_start="1970-01-02", test_start="1970-01-03")
    assert prepared(source, tmp_path).info.splits == {
        "train": (1000, 86400),
        "validation": (86400, 172800),
        "test": (172800, 172800),
    }


def test_splits_may_be_times(tmp_path):
    source = MovieLens(
        path=write(tmp_path, "dat"), validation_start="1970-01-01T01:00", test_start="1970-01-01 04:30+02"
    )
    assert {split: start for split, (start, _) in prepared(source, tmp_path).info.splits.items()} == {
        "train": 1000,
        "validation": 3600,
        "test": 9000,
    }


@pytest.mark.parametrize("source", [MovieLens, MovieTweetings])
def test_a_folder_without_ratings_is_an_error(tmp_path, source):
    with pytest.raises(UserError, match=r"holds no ratings\."):
        prepare(source(path=tmp_path), tmp_path / "out", PrepareOptions())


def test_movietweetings_likes_start_at_eight(tmp_path):
    (tmp_path / "ratings.dat").write_text("1::0000010::8::1381945744\n1::0000012::7::1381945745\n")
    (tmp_path / "movies.dat").write_text("0000010::A (1895)::Short\n0000012::B (1895)::Short|Documentary\n")
    dataset = prepared(MovieTweetings(path=tmp_path), tmp_path)
    assert dataset.events(0).to_pandas().action.tolist() == [2, 1]
    assert dataset.items()["content"].to_pylist() == [[0, 1], [1, 1]]


def test_the_real_sets_have_their_published_counts(shared_data, tmp_path):
    expected = {
        "ml-1m": (MovieLens, {"ratings": 999_845, "raters": 6_040, "rated_movies": 3_615, "movies": 3_883}),
        "ml-latest-small": (MovieLens, {"ratings": 100_836, "raters": 610, "rated_movies": 9_724, "tags": 3_683}),
        "movietweetings": (MovieTweetings, {"ratings": 141_695, "raters": 21_081, "rated_movies": 12_611}),
    }
    for folder, (source, counts) in expected.items():
        report = prepare(source(path=shared_data / folder), tmp_path / folder, PrepareOptions(num_buckets=1))
        assert report["counts"]["source"] | counts == report["counts"]["source"]
        assert sum(report["counts"]["impressions"].values()) == counts["ratings"]


def test_sampled_candidates_are_what_others_rated_before(tmp_path):
    rng = np.random.default_rng(0)
    times = np.sort(rng.integers(0, 90 * 86_400, 400))
    rows = list(zip(rng.integers(1, 20, 400), rng.integers(100, 160, 400), rng.integers(1, 6, 400), times, strict=True))
    rows = [row for i, row in enumerate(rows) if (row[0], row[1]) not in {(r[0], r[1]) for r in rows[:i]}]
    (tmp_path / "ratings.csv").write_text(lines(rows, ",", "userId,movieId,rating,timestamp"))
    (tmp_path / "movies.csv").write_text(
        lines([(i, f"Film {i}", "Drama") for i in range(100, 160)], ",", "movieId,title,genres")
    )
    dataset = prepared(MovieLens(path=tmp_path, sampled_candidates=8), tmp_path)
    assert dataset.info.candidates == "sampled"
    assert dataset.info.schema.tasks == ("rate", "like")
    found = [row for split in dataset.info.splits for row in dataset.requests(split, 0).to_pylist()]
    offered = [
        (user, time)
        for i, (user, item, _, time) in enumerate(rows)
        if item in {other for _, other, _, t in rows[:i] if time - 30 * 86_400 <= t}
    ]
    assert {(request["user_id"], request["timestamp"]) for request in found} == set(offered)
    assert len(found) == len(offered) == len(rows) - dataset.info.counts.source["ratings_without_request"] < len(rows)
    by_key = {(user, time, item): rating for user, item, rating, time in rows}
    for request in found:
        user, time, items = request["user_id"], request["timestamp"], request["item_id"]
        (chosen,) = [item for item, rated in zip(items, request["label_rate"], strict=True) if rated]
        assert request["label_like"] == [item == chosen and by_key[user, time, item] >= 4 for item in items]
        assert items == sorted(set(items))
        recent = {item for _, item, _, t in rows if time - 30 * 86_400 <= t <= time}
        known = {item for u, item, _, t in rows if u == user and t < time}
        assert set(items) <= recent - known
    assert np.mean([len(request["item_id"]) for request in found]) > 5


def test_a_negative_number_of_candidates_is_an_error(tmp_path):
    for source in (MovieLens, MovieTweetings):
        with pytest.raises(UserError, match=r"sampled_candidates \(-1\) must be at least 0"):
            source(path=tmp_path, sampled_candidates=-1)
        with pytest.raises(UserError, match=r"sampled_candidates \(10001\) must be at most 10,000"):
            source(path=tmp_path, sampled_candidates=10_001)
