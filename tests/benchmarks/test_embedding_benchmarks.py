"""The model folder of the benchmark of large tables, small."""

import torch

from benchmarks import embedding_20b
from benchmarks.serving import random_request
from pinfm.inference import load


def test_a_folder_is_built_that_hosts_can_map(tmp_path, monkeypatch):
    monkeypatch.setattr(embedding_20b, "FEATURE_ROWS", 500)
    folder = tmp_path / "model"
    embedding_20b.build(folder, 2000)
    scorer = load(folder)
    listed = {file for _, file, *_ in scorer.module.table_files}
    assert listed == {str(path.relative_to(folder)) for path in folder.glob("tables/*")}
    assert len(listed) > 8
    (scores,) = {len(values) for values in scorer.module(random_request(16, 5)).values()}
    assert scores == 5
    vectors = scorer.module.item_vectors(torch.arange(-3, 3))
    assert vectors.shape == (6, 256)
    assert vectors.unique(dim=0).size(0) == 6
