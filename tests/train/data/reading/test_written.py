"""The SQL that reads times and categories takes and refuses what the Python of requests does."""

import pytest
import written_values

from pinfm.train.data.reading import numbers, times
from pinfm.train.data.reading.readers import connect


@pytest.fixture(scope="module")
def read(tmp_path_factory):
    """The value of a text, by an expression of its parameter."""
    with connect(tmp_path_factory.mktemp("duckdb"), 1.0) as connection:
        yield lambda sql, text: connection.execute(f"SELECT {sql}", [text]).fetchone()[0]


@pytest.mark.parametrize(
    ("text", "expected"), [*written_values.TIMES.items(), *dict.fromkeys(written_values.NO_TIMES).items()]
)
def test_times_of_a_log_are_those_of_requests(read, text, expected):
    assert read(times.seconds("$1", "VARCHAR", "seconds"), text) == expected


@pytest.mark.parametrize(
    ("text", "expected"), [*written_values.CATEGORIES.items(), *dict.fromkeys(written_values.NO_CATEGORIES).items()]
)
def test_categories_of_a_log_are_those_of_requests(read, text, expected):
    assert read(numbers.code("$1", "VARCHAR"), text) == expected
