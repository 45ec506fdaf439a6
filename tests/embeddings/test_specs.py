"""Table sizes and the values that they refuse."""

import pytest

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.specs import FeatureTableConfig, IdTable, ItemTableConfig, feature_table, item_table


def test_the_item_table_is_what_its_config_says():
    assert item_table(ItemTableConfig(num_hashes=3, rows=50, dim=4)) == IdTable(
        name="item", num_hashes=3, rows=50, dim=4
    )


def test_sub_tables_are_numbered():
    assert IdTable(name="author", num_hashes=3, rows=5, dim=2).sub_tables() == ["author_0", "author_1", "author_2"]


@pytest.mark.parametrize(
    ("num_values", "rows"),
    [(0, 16), (6, 16), (7, 18), (100, 250), (399, 998), (401, 1000), (10**9, 1000)],
)
def test_feature_tables_grow_with_their_values_up_to_a_bound(num_values, rows):
    config = FeatureTableConfig(num_hashes=4, dim=12, rows_per_value=2.5, max_rows=1000)
    assert feature_table("tag", num_values, config) == IdTable(name="tag", num_hashes=4, rows=rows, dim=3)


@pytest.mark.parametrize("field", ["num_hashes", "rows", "dim"])
def test_item_tables_need_positive_sizes(field):
    with pytest.raises(UserError, match=rf"^item_table\.{field} \(0\) must be at least 1\.$"):
        ItemTableConfig(**{field: 0})


def test_item_tables_have_a_size_that_bytes_can_count():
    with pytest.raises(UserError, match=r"^item_table\.rows \(10{15}\) by item_table\.dim \(8\) is .* take fewer\.$"):
        ItemTableConfig(rows=10**15)


@pytest.mark.parametrize("field", ["num_hashes", "dim", "max_rows"])
def test_feature_tables_need_positive_sizes(field):
    with pytest.raises(UserError, match=rf"^feature_tables\.{field} \(-2\) must be at least 1\.$"):
        FeatureTableConfig(**{field: -2})


def test_feature_dim_must_split_over_the_hashes():
    with pytest.raises(UserError, match=r"feature_tables\.num_hashes \(3\) must divide feature_tables\.dim \(16\)"):
        FeatureTableConfig(num_hashes=3, dim=16)
