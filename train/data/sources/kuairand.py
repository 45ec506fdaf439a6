"""KuaiRand-Pure: short videos, four kinds of feedback, surfaces (tabs), user and video features.

What is read, how requests and events come about, and what is not used because it leaks: docs/data.md.
"""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from pinfm.embeddings.errors import require_at_least, require_types
from pinfm.model.schema import Feature
from pinfm.train.data.reading.columns import Column
from pinfm.train.data.reading.files import need_table
from pinfm.train.data.reading.sql import FILE, POSITION, ROW, name, quoted
from pinfm.train.data.splits.rule import SplitRule
from pinfm.train.data.tables import RawTables

if TYPE_CHECKING:
    import duckdb

    from pinfm.train.data.reading.validate import Validator

BEIJING_SECONDS = 8 * 3600
FIRST_DAY = 1649433600  # 2022-04-09 00:00 in Beijing, where the data begin
VALIDATION_START = 1651680000  # 2022-05-05 00:00 in Beijing
TEST_START = 1651766400  # 2022-05-06 00:00 in Beijing
SUFFIXES = (".csv.gz", ".csv", ".parquet")
STEMS = {
    "kuairand_log": "log_standard_4_25_to_5_08_pure",
    "kuairand_sequences": "user_sequences_4_09_to_4_24_last50",
    "kuairand_users": "user_features_pure",
    "kuairand_videos": "video_features_basic_pure",
}

TASKS = ("click", "long_view", "like", "profile_enter")
# Weak to strong. `seen`: shown before 04-25, and neither watched long nor liked; whether clicked nobody knows.
ACTIONS = ("skip", "seen", *TASKS)

USER_STRINGS = (
    "user_active_degree",
    "follow_user_num_range",
    "fans_user_num_range",
    "friend_user_num_range",
    "register_days_range",
)
USER_CODES = (
    "is_lowactive_period",
    "is_live_streamer",
    "is_video_author",
    *(f"onehot_feat{index}" for index in range(18)),
)
USER_NUMBERS = ("follow_user_num", "fans_user_num", "friend_user_num", "register_days")
VIDEO_STRINGS = ("video_type", "upload_type")
ATTRIBUTES = ("author_id", "tag", "tag_2", "music_type", *VIDEO_STRINGS)

COLUMNS = {
    "kuairand_log": (
        Column("user_id", "id"),
        Column("item_id", "id", raw="video_id"),
        Column("time_ms", "milliseconds"),
        Column("click", "flag", raw="is_click"),
        Column("long_view", "flag"),
        Column("like", "flag", raw="is_like"),
        Column("profile_enter", "flag", raw="is_profile_enter"),
        Column("duration_ms", "number"),
        Column("tab", "id"),
    ),
    "kuairand_sequences": (
        Column("user_id", "id"),
        Column("history_len", "count"),
        Column("last_time_ms", "milliseconds"),
        Column("watch_seq", "ids"),
        Column("long_watch_seq", "ids"),
        Column("like_seq", "ids"),
    ),
    "kuairand_users": (
        Column("user_id", "id"),
        *(Column(column, "text") for column in USER_STRINGS),
        *(Column(column, "number", nullable=True) for column in (*USER_CODES, *USER_NUMBERS)),
    ),
    "kuairand_videos": (
        Column("item_id", "id", raw="video_id"),
        Column("author_id", "id", nullable=True),
        Column("upload_dt", "text", form=("a date such as 2022-04-10", r"\d{4}-\d{2}-\d{2}")),
        Column("music_type", "number", nullable=True),
        Column("tag", "text", form=("a list of integers with commas between them", r"\d*(,\d+)*")),
        *(Column(column, "text") for column in VIDEO_STRINGS),
    ),
}
_UNIQUE = {"kuairand_sequences": ("user_id",), "kuairand_users": ("user_id",), "kuairand_videos": ("item_id",)}


def _features() -> tuple[Feature, ...]:
    def categorical(column: str) -> Feature:
        return Feature(name=column, kind="categorical", scope="request")

    return (
        Feature(name="duration", kind="dense", scope="candidate"),
        Feature(name="tab", kind="categorical", scope="candidate"),
        *map(categorical, ("hour", "weekday", *USER_STRINGS, *USER_CODES)),
        *(Feature(name=column, kind="dense", scope="request") for column in USER_NUMBERS),
    )


@dataclass(frozen=True, kw_only=True)
class KuaiRand:
    """The KuaiRand-Pure tables of 2022-04-09 to 05-08.

    Args:
        path: folder of the four tables, as .csv.gz, .csv or .parquet; the sample in the package by default.
        include_skips: write impressions without feedback as events too (`skip`, and `seen` before 04-25).
        request_gap_minutes: a pause this long between two impressions of a user starts a new request.
    """

    name: ClassVar[str] = "kuairand"

    path: Path | None = None
    include_skips: bool = True
    request_gap_minutes: int = 30

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least("", 0, request_gap_minutes=self.request_gap_minutes)

    def require_inputs(self) -> None:
        """See `tables.Source`."""
        self._files()

    def _files(self) -> dict[str, Path]:
        """The file of each table."""
        folder = self.path or Path(__file__).parent.parent / "sample"
        return {table: need_table(folder, stem, SUFFIXES) for table, stem in STEMS.items()}

    def load(self, validator: "Validator", work: Path) -> RawTables:
        """See `tables.Source`."""
        from pinfm.train.data.sources.kuairand_sequences import merge_sequences
        from pinfm.train.data.sources.sessions import number_requests

        for table, file in self._files().items():
            validator.read(f"{table}_raw", file)
            validator.stage(table, f"{table}_raw", COLUMNS[table], unique=_UNIQUE.get(table, ()))
        connection = validator.connection
        connection.execute("ALTER TABLE kuairand_log ADD COLUMN timestamp BIGINT")
        connection.execute("UPDATE kuairand_log SET timestamp = time_ms // 1000")
        gap = self.request_gap_minutes * 60
        number_requests(connection, "kuairand_log", gap, (VALIDATION_START, TEST_START))
        counts = merge_sequences(connection, ACTIONS, FIRST_DAY)
        self._create_views(connection)
        return RawTables(
            events="kuairand_events",
            items="kuairand_items",
            impressions="kuairand_impressions",
            actions=ACTIONS,
            positive_actions=TASKS,
            tasks=TASKS,
            features=_features(),
            item_attributes=ATTRIBUTES,
            splits=SplitRule(validation_start=VALIDATION_START, test_start=TEST_START),
            notes=(
                "KuaiRand-Pure, Gao et al., CIKM 2022, https://kuairand.com, CC BY-SA 4.0.",
                "Events before 2022-04-25 have their real order; their times are spread evenly, because only the "
                "last one is known.",
            ),
            counts=counts,
        )

    def _create_views(self, connection: "duckdb.DuckDBPyConnection") -> None:
        feedback = "TRUE" if self.include_skips else "action NOT IN ('skip', 'seen')"
        stronger = " ".join(f"WHEN {name(task)} THEN '{task}'" for task in reversed(TASKS))
        connection.execute(
            f"CREATE VIEW kuairand_events AS SELECT * FROM ("
            f"SELECT user_id, timestamp, action, NULL AS surface, item_id, {FILE}, {ROW}, {POSITION} "
            f"FROM kuairand_past UNION ALL "
            # After the past where times are equal: the log is the newer file.
            f"SELECT user_id, timestamp, CASE {stronger} ELSE 'skip' END, tab::VARCHAR, item_id, {FILE}, {ROW}, "
            f"{1 << 40} + {POSITION} FROM kuairand_log) WHERE {feedback}"
        )
        local = f"(started_at + {BEIJING_SECONDS})"
        users = [
            *(_coded(connection, "kuairand_users", column) for column in USER_STRINGS),
            *(f"u.{column}::BIGINT + 1 AS {column}" for column in USER_CODES),
            *(f"coalesce(u.{column}, 0) AS {column}" for column in USER_NUMBERS),
        ]
        connection.execute(
            f"CREATE VIEW kuairand_impressions AS SELECT request_id, user_id, timestamp, tab AS surface, item_id, "
            f'click, long_view, "like", profile_enter, duration_ms / 1000 AS duration, '
            f"CAST(tab + 1 AS BIGINT) AS tab, {local} // 3600 % 24 + 1 AS hour, "
            # 1970-01-01 was a Thursday, so + 3 makes Monday the first day.
            f"({local} // 86400 + 3) % 7 + 1 AS weekday, {', '.join(users)}, "
            f"l.{FILE} AS {FILE}, l.{ROW} AS {ROW}, l.{POSITION} AS {POSITION} "
            f"FROM kuairand_log_requests AS l LEFT JOIN kuairand_users AS u USING (user_id)"
        )
        connection.execute(
            f"CREATE VIEW kuairand_items AS SELECT item_id, "
            f"epoch(TRY_CAST(upload_dt AS DATE))::BIGINT - {BEIJING_SECONDS} AS created_at, "
            f"author_id + 1 AS author_id, TRY_CAST(str_split(tag, ',')[1] AS BIGINT) + 1 AS tag, "
            f"TRY_CAST(str_split(tag, ',')[2] AS BIGINT) + 1 AS tag_2, music_type::BIGINT + 1 AS music_type, "
            f"{', '.join(_coded(connection, 'kuairand_videos', column) for column in VIDEO_STRINGS)}, "
            f"{FILE}, {ROW}, {POSITION} FROM kuairand_videos AS u"
        )


def _coded(connection: "duckdb.DuckDBPyConnection", table: str, column: str) -> str:
    """SQL of a string's place, from 1, among the sorted distinct ones; 0 for a missing one."""
    rows = connection.execute(f"SELECT DISTINCT {column} FROM {table} WHERE {column} IS NOT NULL ORDER BY 1").fetchall()
    listed = ", ".join(quoted(row[0]) for row in rows)
    return f"coalesce(list_position([{listed}]::VARCHAR[], u.{column}), 0)::BIGINT AS {column}"
