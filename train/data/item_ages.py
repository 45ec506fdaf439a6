"""Where items of a log become old: read off how old they are when they are shown."""

import duckdb

from pinfm.model.item_ages import PAPER, age_thresholds
from pinfm.train.data.splits.marked import SPLIT

# Round ages, each a quarter of the other, as the paper's are; the oldest pair first.
LADDER = (PAPER, ("1d", "4d"), ("6h", "1d"), ("1h", "4h"), ("15min", "1h"))
# One in so many of the shown items has to be older than young ones are: else dropout would hide the tower from
# nearly all that is trained on.
ONE_IN = 4


def find_age_thresholds(connection: duckdb.DuckDBPyConnection, table: str) -> tuple[str, str]:
    """Returns the oldest thresholds of LADDER that leave a quarter of what is shown no longer young; else the last.

    Args:
        connection: the database with `all_items` and the rows of each split.
        table: `impressions`, or `events` of a log without any; those of training count.
    """
    young = [age_thresholds("item_age_thresholds", texts).young for texts in LADDER]
    counts = ", ".join(f"count(*) FILTER (t.timestamp - a.created_at >= {seconds})" for seconds in young)
    row = connection.execute(
        f"SELECT count(*), {counts} FROM split_{table} AS t JOIN all_items AS a USING (item_id) WHERE t.{SPLIT} = 0"
    ).fetchone()
    assert row is not None
    total, *older = row
    return next((texts for texts, count in zip(LADDER, older, strict=True) if ONE_IN * count >= total), LADDER[-1])
