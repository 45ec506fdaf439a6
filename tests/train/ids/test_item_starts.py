"""Rows of new items start from what the rows of items like them have learned."""

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
import torch
from torch.testing import assert_close

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.ids import starts
from pinfm.train.ids.starts import RIDGE, ItemStarts

DIM = 5
UNKNOWN = 10**15


@pytest.fixture
def some_without_content(dataset, tmp_path):
    """The dataset, every fourth item of which has no content vector."""
    table = PreparedDataset.open(dataset).items()
    content = np.stack(table["content"].to_numpy())
    content[::4] = 0.0
    column = table.schema.get_field_index("content")
    table = table.set_column(column, "content", pa.array(list(content), type=table.schema.field(column).type))
    pyarrow.parquet.write_table(table, tmp_path / "items.parquet")
    (tmp_path / "dataset.json").write_text((dataset / "dataset.json").read_text())
    return PreparedDataset.open(tmp_path)


def items_of(data):
    """Ids, content vectors of length 1 (or 0), and age groups at the end of training."""
    table = data.items()
    content = np.stack(table["content"].to_numpy())
    content = content / np.maximum(np.linalg.norm(content, axis=1, keepdims=True), 1e-12)
    age_days = (data.info.splits["train"][1] - table["created_at"].to_numpy()) // 86_400
    return table["item_id"].to_numpy().copy(), content, np.digitize(age_days, [7, 28])


def predicted(item_starts, new, known, rows_of_known):
    told = item_starts.of(torch.from_numpy(new), torch.from_numpy(known), torch.arange(len(known)))
    return told.told_R(), told.new_RF @ (told.known_MF.T @ torch.from_numpy(rows_of_known))


def split(number):
    """New items' and known items' places."""
    order = np.random.default_rng(0).permutation(number)
    return order[:15], np.sort(order[15:])


def test_content_is_projected_as_ridge_regression_does(some_without_content):
    ids, content, age = items_of(some_without_content)
    new, known = split(len(ids))
    has = np.any(content, axis=1)
    assert 0 < has[new].sum() < len(new)
    rows = np.random.default_rng(1).normal(size=(len(known), DIM)).astype(np.float32)

    item_starts = ItemStarts(some_without_content, use_content=True)
    told, values = predicted(item_starts, ids[new], ids[known], rows)

    assert told.all()
    new_R, known_M, rows_M = (torch.from_numpy(places) for places in (ids[new], ids[known], known))
    assert item_starts.of(new_R, known_M, rows_M).by_content_R.tolist() == has[new].tolist()
    x, y = np.c_[content[known], np.ones(len(known))][has[known]], rows[has[known]]
    ridge = np.sqrt(RIDGE) * np.eye(x.shape[1])
    weights, *_ = np.linalg.lstsq(np.vstack([x, ridge]), np.vstack([y, np.zeros((len(ridge), DIM))]), rcond=None)
    projected = np.c_[content[new], np.ones(len(new))] @ weights
    by_age = np.stack([rows[age[known] == group].mean(0) for group in age[new]])
    expected = np.where(has[new, None], projected, by_age)
    assert_close(values, torch.from_numpy(expected).float(), rtol=1e-3, atol=1e-4)


def test_without_content_in_use_an_items_age_tells(some_without_content):
    ids, _, age = items_of(some_without_content)
    new, known = split(len(ids))
    rows = np.random.default_rng(1).normal(size=(len(known), DIM)).astype(np.float32)
    told, values = predicted(ItemStarts(some_without_content, use_content=False), ids[new], ids[known], rows)
    assert told.all()
    expected = np.stack([rows[age[known] == group].mean(0) for group in age[new]])
    assert_close(values, torch.from_numpy(expected), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("use_content", [True, False])
def test_an_item_that_is_like_no_known_one_is_not_told_of(some_without_content, use_content):
    ids, _, age = items_of(some_without_content)
    item_starts = ItemStarts(some_without_content, use_content)
    rows = np.ones((len(ids), DIM), dtype=np.float32)
    assert predicted(item_starts, np.array([UNKNOWN, ids[0]]), ids, rows)[0].tolist() == [False, True]
    assert item_starts.of(torch.from_numpy(ids[:8]), torch.empty(0).long(), torch.empty(0).long()) is None
    # Content of which no known item has any, and an age that no known item has.
    contentless, others = ids[::4][age[::4] == age.max()], ids[age != age.max()]
    assert not predicted(item_starts, others[:8], contentless, rows[: len(contentless)])[0].any()


def test_of_many_known_items_some_are_asked(some_without_content, monkeypatch):
    monkeypatch.setattr(starts, "MOST_KNOWN", 10)
    ids = torch.from_numpy(items_of(some_without_content)[0])
    told = ItemStarts(some_without_content, use_content=True).of(ids[:3], ids, torch.arange(len(ids)))
    assert 5 <= len(told.rows_M) <= 10
    assert len(told.known_MF) == len(told.rows_M)
    # From first to last, not the first few.
    assert told.rows_M.max() >= 0.9 * len(ids) - 10
