"""The sequence sets of benchmarks/next_item.py: how each becomes a dataset, and what was published on it."""

import gzip
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet

from benchmarks.parts.quality.leave_one_out import kept_items, leave_one_out
from benchmarks.parts.quality.movielens_rows import PUBLISHED as ON_MOVIELENS
from benchmarks.parts.quality.runs import prepared
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.events import Events
from pinfm.train.data.sources.films.movielens import MovieLens

# Name, HR@10, NDCG@10, and who reported it.
Published = tuple[str, float, float, str]

LEAST_RATINGS = 5
_S3 = "S3-Rec's repository"
_ESASREC = "eSASRec's repository (arXiv 2508.06450)"


@dataclass(frozen=True, kw_only=True)
class NextItemSet:
    """A public log of sequences, leave-one-out, ranked against the whole catalogue without the history's items.

    Args:
        title: in the table.
        prepare: folder of the raw data, and a folder of its own to write to -> the prepared dataset.
        published: rows of others under the same protocol.
    """

    title: str
    prepare: Callable[[Path, Path], Path]
    published: tuple[Published, ...]


def sequences(path: Path, out: Path) -> Path:
    """Prepares a file of lines `user item item ...`, oldest first and perhaps gzipped: an order without times."""
    table = out / "events.parquet"
    if not table.exists():
        out.mkdir(parents=True, exist_ok=True)
        open_text = gzip.open if path.suffix == ".gz" else open
        with open_text(path, "rt") as file:
            lines = [[int(word) for word in line.split()] for line in file]
        users = [line[0] for line in lines for _ in line[1:]]
        items = [item for line in lines for item in line[1:]]
        pyarrow.parquet.write_table(pyarrow.table({"user_id": users, "item_id": items}), table)
    source = Events(path=table, action="view", order_only="user", split_by="leave-one-out")
    return prepared(source, out / "dataset")


def _amazon_or_lastfm(name: str) -> Callable[[Path, Path], Path]:
    return lambda data, out: sequences(data / "next_item" / f"{name}.txt.gz", out)


def _movielens(data: Path, out: Path) -> Path:
    everything = PreparedDataset.open(prepared(MovieLens(path=data / "ml-1m"), out / "prepared"))
    return leave_one_out(everything, kept_items(everything, LEAST_RATINGS), out / "dataset").path


SETS = {
    "toys": NextItemSet(
        title="Amazon Toys",
        prepare=_amazon_or_lastfm("Toys_and_Games"),
        published=(
            ("SASRec, BCE", 0.0675, 0.0374, _S3),
            ("S3-Rec", 0.0700, 0.0376, _S3),
            ("FuXi-alpha", 0.0765, 0.0437, _ESASREC),
            ("HSTU", 0.0778, 0.0450, _ESASREC),
            ("eSASRec", 0.0939, 0.0538, _ESASREC),
            ("SASRec, sampled softmax", 0.0970, 0.0580, _ESASREC),
        ),
    ),
    "sports": NextItemSet(
        title="Amazon Sports",
        prepare=_amazon_or_lastfm("Sports_and_Outdoors"),
        published=(
            ("SASRec, BCE", 0.0350, 0.0192, _S3),
            ("S3-Rec", 0.0385, 0.0204, _S3),
            ("FuXi-alpha", 0.0437, 0.0244, _ESASREC),
            ("HSTU", 0.0437, 0.0243, _ESASREC),
            ("ActionPiece", 0.0500, 0.0264, _ESASREC),
            ("eSASRec", 0.0560, 0.0323, _ESASREC),
            ("SASRec, sampled softmax", 0.0569, 0.0314, _ESASREC),
        ),
    ),
    "lastfm": NextItemSet(
        title="LastFM",
        prepare=_amazon_or_lastfm("LastFM"),
        published=(("SASRec, BCE", 0.0688, 0.0390, _S3), ("S3-Rec", 0.0743, 0.0427, _S3)),
    ),
    "ml1m": NextItemSet(
        title="MovieLens-1M",
        prepare=_movielens,
        published=tuple(row for row in ON_MOVIELENS if "target's time" not in row[3]),
    ),
}
