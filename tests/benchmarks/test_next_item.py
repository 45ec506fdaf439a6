"""Sequence files become leave-one-out datasets, and the table sets our rows beside the published ones."""

import gzip

from benchmarks.next_item import as_table
from benchmarks.parts.quality.next_item_sets import SETS, sequences
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.evaluation.queries import split_queries


def test_a_file_of_sequences_becomes_a_dataset_without_times(tmp_path):
    with gzip.open(tmp_path / "some.txt.gz", "wt") as file:
        file.write("1 5 7 9 4\n3 9 5 7\n")
    data = PreparedDataset.open(sequences(tmp_path / "some.txt.gz", tmp_path / "out"))
    assert (data.info.counts.users, data.info.counts.items, data.info.counts.events) == (2, 4, 7)
    assert data.info.split_last == 1
    wanted = []
    for bucket in range(data.info.num_buckets):
        queries = split_queries(data, "test", bucket)
        wanted += queries.events["item_id"][queries.target_B].tolist()
    assert sorted(wanted) == [4, 7]


def test_published_rows_come_before_ours():
    figures = {"hr@10": 0.1, "ndcg@10": 0.05}
    lines = as_table({"lastfm": {0: {"test": figures, "validation": figures}}}).split("\n")[2:]
    assert [line.split(" | ")[1] for line in lines] == ["SASRec, BCE", "S3-Rec", "**pinfm, auto**"]
    assert lines[-1].startswith("| LastFM | **pinfm, auto** | 0.1000 | 0.0500 | 0.1000 | 0.0500 | 1 |")


def test_every_published_figure_is_a_share():
    for name, data in SETS.items():
        for model, hr, ndcg, by in data.published:
            assert 0 < ndcg < hr < 1, (name, model)
            assert by
