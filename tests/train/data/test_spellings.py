"""One id, one name, however a table spells it: decided once for a column, over every table that has it."""

import hashlib
import json
import re
import uuid
from decimal import Decimal

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import pytest

from pinfm.embeddings.errors import UserError
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.reading import columns, spelling
from pinfm.train.data.reading.readers import connect

ALICE = int.from_bytes(hashlib.sha1(b"alice").digest()[:8], "big", signed=True)


NUMBERED = {"home": 2, "late": 3}


def as_column(column, to):
    """Every table that has the column, with its values passed through a function."""
    both = ("events", "impressions")
    tables = {"item_id": (*both, "items"), "user_id": both, "surface": both}
    spoil = lambda frame: frame.assign(**{column: [to(value) for value in frame[column]]})  # noqa: E731
    return dict.fromkeys(tables.get(column, ("impressions",)), spoil)


def numbered(frame, to=float):
    """The surfaces as numbers, missing ones as pandas has them."""
    return frame.assign(surface=[None if pd.isna(name) else to(NUMBERED[name]) for name in frame["surface"]])


def all_events(dataset):
    frames = [dataset.events(bucket).to_pandas() for bucket in range(dataset.info.num_buckets)]
    return pd.concat(frames).sort_values("timestamp").reset_index(drop=True)


@pytest.mark.parametrize(
    ("kind", "events", "impressions"),
    [
        ("csv", float, int),
        ("csv", float, float),
        ("csv", lambda number: f" {number} ", lambda number: f"{number}.00"),
        ("parquet", float, float),
        ("parquet", int, float),
        ("parquet", float, str),
        ("parquet", Decimal, int),
    ],
)
def test_a_numbered_surface_is_its_number_however_it_is_spelled(logs, kind, events, impressions):
    logs.write(kind, events=lambda t: numbered(t, events), impressions=lambda t: numbered(t, impressions))
    dataset = logs.prepare(kind)
    schema = dataset.info.schema
    assert (schema.surfaces, schema.numbered) == (("2",), ("surface",))
    assert all_events(dataset)["surface"].tolist() == [1] * 8 + [0, 0]
    assert dataset.requests("train", 0)["surface"].to_pylist() == [1] * dataset.requests("train", 0).num_rows


@pytest.mark.parametrize("kind", ["csv", "parquet"])
@pytest.mark.parametrize("nan", ["nan", "NaN", " NAN "])
def test_the_text_nan_is_no_name_among_numbers(logs, kind, nan):
    def spelt(frame):
        return frame.assign(surface=[nan if pd.isna(name) else f"{NUMBERED[name]}.0" for name in frame["surface"]])

    logs.write(kind, events=spelt, impressions=spelt)
    dataset = logs.prepare(kind)
    schema = dataset.info.schema
    assert (schema.surfaces, schema.numbered) == (("2",), ("surface",))
    assert all_events(dataset)["surface"].tolist() == [1] * 8 + [0, 0]


@pytest.mark.parametrize("stray", ["007", "1e0", "+1", "home", "1.5", "0x1", "1_0"])
@pytest.mark.parametrize("table", ["events", "impressions"])
def test_one_name_that_is_no_number_makes_names_of_all(logs, stray, table):
    def spoil(frame):
        named = numbered(frame, str).astype(object)
        named.loc[0, "surface"] = stray
        return named

    others = {"events", "impressions"} - {table}
    logs.write(**{table: spoil, **{other: lambda frame: numbered(frame, str) for other in others}})
    schema = logs.prepare().info.schema
    assert schema.numbered == ()
    assert set(schema.surfaces) == {"2", stray}


def test_a_fraction_in_a_column_of_floats_is_no_name(logs):
    def spoil(frame):
        frame = numbered(frame, float)
        frame.loc[4, "surface"] = 2.5
        return frame

    logs.write("parquet", events=spoil, impressions=numbered)
    with pytest.raises(UserError, match=r"row 5, column surface: '2\.5' is not a name or a whole number"):
        logs.prepare("parquet")


@pytest.mark.parametrize("actions", [["1", "2"], ["1.0", "2.0"]])
@pytest.mark.parametrize(
    "values", [{"click": 1, "save": 2}, {"click": 1.0, "save": 2.0}, {"click": " 1", "save": "2."}]
)
def test_numbered_actions_are_their_numbers(logs, actions, values):
    logs.write(events=lambda frame: frame.assign(action=frame["action"].map(values)))
    schema = logs.prepare(actions=actions, positive_actions=actions[1:]).info.schema
    assert (schema.actions, schema.positive_actions, schema.numbered) == (("1", "2"), ("2",), ("action",))


def test_one_action_by_two_spellings_is_an_error(logs):
    logs.write()
    with pytest.raises(UserError, match="actions names the number 1 twice; name each action once"):
        logs.prepare(actions=["1", "1.0"], positive_actions=None)


def test_actions_that_begin_with_zeros_are_names(logs):
    logs.write(events=lambda frame: frame.assign(action=frame["action"].map({"click": "01", "save": "02"})))
    schema = logs.prepare(actions=["01", "02"], positive_actions=None).info.schema
    assert (schema.actions, schema.numbered) == (("01", "02"), ())


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_text_ids_are_the_hash_of_their_text(logs, kind):
    names = {1: "alice", 2: " bób "}
    logs.write(kind, **as_column("user_id", names.get))
    dataset = logs.prepare(kind)
    assert dataset.info.schema.ids == {"user_id": "text"}
    bob = int.from_bytes(hashlib.sha1("bób".encode()).digest()[:8], "big", signed=True)
    assert all_events(dataset)["user_id"].tolist() == [ALICE, bob] * 5
    assert dataset.as_logged("user_id", np.array([bob, ALICE, bob])).tolist() == ["bób", "alice", "bób"]
    with pytest.raises(UserError, match=r"user_id\.parquet lacks ids of the dataset; run `pinfm prepare` again"):
        dataset.as_logged("user_id", np.array([ALICE, 7]))
    requests = pd.concat([dataset.requests("train", bucket).to_pandas() for bucket in range(2)])
    assert set(requests["user_id"]) == {ALICE, bob}


@pytest.mark.parametrize(
    "spell",
    [
        lambda number: f"B{number:09}",
        lambda number: f"{number:09}",
        lambda number: str(uuid.UUID(int=number)),
        lambda number: f"1{number:030}",
        lambda number: "é" * (number - 90),
    ],
    ids=["ASIN", "leading zeros", "UUID", "beyond 64 bits", "no ASCII"],
)
def test_text_items_meet_over_all_tables(logs, spell):
    logs.write(**as_column("item_id", spell))
    plain = logs.tables["items"]
    dataset = logs.prepare()
    assert dataset.info.schema.ids == {"item_id": "text"}
    items = dataset.items().to_pandas()
    assert len(items) == 13
    assert (items["brand"] == 5).sum() == len(plain)
    assert set(dataset.as_logged("item_id", items["item_id"].to_numpy())) == {spell(n) for n in range(100, 113)}


def test_zeros_before_a_text_id_count(logs):
    def spoil(frame):
        return frame.assign(user_id=["0012", "12", "0012", "a", "b"] * 2)

    logs.write(events=spoil, impressions=lambda frame: frame.assign(user_id="12"))
    assert logs.prepare().info.counts.users == 4


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_one_id_with_zeros_before_it_makes_text_of_all(logs, kind):
    spoil = {"impressions": lambda frame: frame.assign(user_id=frame["user_id"].astype(str))}
    logs.write(kind, events=lambda frame: frame.assign(user_id=[*["1"] * 8, "0012", "12"]), **spoil)
    dataset = logs.prepare(kind)
    assert dataset.info.schema.ids == {"user_id": "text"}
    place = f"events.{kind}, row {10 if kind == 'csv' else 9}, column user_id: '0012' has zeros before it"
    (note,) = [note for note in dataset.info.notes if place in note]
    assert "(1 such), so every user_id is read as text; correct it if they are integers" in note
    assert dataset.info.counts.users == 4  # 2 is shown something


def test_an_id_with_zeros_before_it_beside_a_column_of_integers_is_refused(logs):
    logs.write("parquet", events=lambda frame: frame.assign(item_id=[*map(str, range(100, 109)), "007"]))
    sentence = (
        r"events\.parquet, row 10, column item_id: '007' has zeros before it, as text ids have, but .*"
        r"impressions\.parquet holds item_id as integers; correct it, or say with --text-ids '\[item_id\]' that they"
    )
    with pytest.raises(UserError, match=sentence):
        logs.prepare("parquet")
    assert logs.prepare("parquet", text_ids=["item_id"]).info.schema.ids == {"item_id": "text"}


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_no_surface_at_all_is_no_number(logs, kind):
    logs.write(kind, **as_column("surface", lambda _: None))
    schema = logs.prepare(kind).info.schema
    assert (schema.surfaces, schema.numbered) == ((), ())


def test_text_requests_and_a_typed_column_of_uuids(logs):
    logs.write("parquet", **as_column("request_id", lambda number: str(uuid.UUID(int=number + 1))))
    path = logs.folder / "impressions.parquet"
    table = pyarrow.parquet.read_table(path)
    ids = pyarrow.array([uuid.UUID(text).bytes for text in table["request_id"].to_pylist()], pyarrow.binary(16))
    typed = pyarrow.ExtensionArray.from_storage(pyarrow.uuid(), ids)
    pyarrow.parquet.write_table(table.set_column(table.schema.get_field_index("request_id"), "request_id", typed), path)
    dataset = logs.prepare("parquet")
    assert dataset.info.schema.ids == {"request_id": "text"}
    assert sum(dataset.info.counts.requests.values()) == 10


def test_as_many_texts_as_integers_make_texts_of_all(logs):
    logs.write(**as_column("user_id", lambda user: "anonymous" if user == 2 else user * 1000))
    assert logs.prepare().info.schema.ids == {"user_id": "text"}


def test_a_stray_text_is_named_unless_the_ids_are_said_to_be_text(logs):
    logs.write(events=lambda frame: frame.assign(item_id=["x", *range(101, 110)]))
    sentence = (
        r"row 2, column item_id: 'x' is not an integer \(1 such row\); correct it, or say with --text-ids that th"
    )
    with pytest.raises(UserError, match=sentence):
        logs.prepare()
    dataset = logs.prepare(text_ids=["item_id"])
    assert dataset.info.schema.ids == {"item_id": "text"}
    hash_of_107 = int.from_bytes(hashlib.sha1(b"107").digest()[:8], "big", signed=True)
    assert hash_of_107 in dataset.items()["item_id"].to_pylist()


@pytest.mark.parametrize("spell", [float, lambda number: f"{number}.0", lambda number: f" {number}", Decimal, str])
@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_integers_are_integers_however_one_table_spells_them(logs, kind, spell):
    logs.write(kind, events=lambda frame: frame.assign(item_id=[spell(value) for value in frame["item_id"]]))
    dataset = logs.prepare(kind)
    assert dataset.info.schema.ids == {}
    assert all_events(dataset)["item_id"].tolist() == list(range(100, 110))
    assert dataset.items().num_rows == 13


@pytest.mark.parametrize("value", ["9007199254740993.0", "1.5", "nan", "+7", "1e3"])
def test_an_integer_that_lost_digits_is_an_error(logs, value):
    logs.write(events=lambda frame: frame.assign(item_id=[value, *range(101, 110)]))
    with pytest.raises(
        UserError, match=rf"row 2, column item_id: '{re.escape(value)}' is not an integer \(1 such row\)"
    ):
        logs.prepare()


@pytest.mark.parametrize("kind", ["csv", "parquet"])
def test_unsigned_ids_are_taken_by_twos_complement(logs, kind):
    def unsigned(frame):
        return frame.assign(item_id=(frame["item_id"].astype(np.uint64) + np.uint64(2**64 - 105)))

    logs.write(kind, events=unsigned, impressions=unsigned, items=unsigned)
    dataset = logs.prepare(kind)
    assert dataset.info.schema.ids == {"item_id": "uint64"}
    ids = all_events(dataset)["item_id"]
    assert ids.tolist() == list(range(-5, 5))
    assert dataset.as_logged("item_id", ids.to_numpy()).tolist() == [*range(2**64 - 5, 2**64), *range(5)]
    assert dataset.items().num_rows == 13


def test_unsigned_ids_beside_negative_ones_are_an_error(logs):
    logs.write(
        events=lambda frame: frame.assign(item_id=[2**64 - 1, *range(101, 110)]),
        items=lambda frame: frame.assign(item_id=[-1, *range(101, 108)]),
    )
    with pytest.raises(UserError, match=r"column item_id: '18446744073709551615' is above 2\*\*63 - 1 .* all unsigned"):
        logs.prepare()


def test_a_number_beyond_64_bits_among_unsigned_ids_is_an_error(logs):
    logs.write(events=lambda frame: frame.assign(item_id=[2**64, 2**63, *range(102, 110)]))
    with pytest.raises(UserError, match=r"column item_id: '18446744073709551616' is not an integer from 0 to 2\*\*64"):
        logs.prepare()


def test_texts_of_one_hash_are_an_error(logs, monkeypatch):
    shorter = lambda raw, sql_type: f"(hash({spelling.text_of_id(raw, sql_type)}) % 3)::BIGINT"  # noqa: E731
    monkeypatch.setitem(columns._SPELLING, "text_id", shorter)
    logs.write(**as_column("item_id", lambda number: f"B{number}"))
    with pytest.raises(UserError, match=r"item_id: 'B1\d\d' and 'B1\d\d' have the same 64-bit hash \(1\d such of 13"):
        logs.prepare()


@pytest.mark.parametrize(
    ("table", "spoil", "sentence"),
    [
        ("items", {"item_id": "B100"}, "row 3, column item_id: 'B100' stands there a second time"),
        ("impressions", {"item_id": "B103"}, "row 3, column item_id: 'B103' stands .* in the same request_id"),
        (
            "impressions",
            {"user_id": "U9"},
            "row 3, column user_id: 'U9' differs from the first row of the same request",
        ),
    ],
)
def test_a_bad_row_tells_the_text_of_its_id(logs, table, spoil, sentence):
    spell = {"user_id": "U", "item_id": "B", "request_id": "R"}

    def named(frame):
        for column in frame.columns.intersection(list(spell)):
            frame[column] = [f"{spell[column]}{number}" for number in frame[column]]
        return frame

    def spoilt(frame):
        frame = named(frame)
        for column, value in spoil.items():
            frame.loc[1, column] = value
        return frame

    logs.write(**{name: spoilt if name == table else named for name in logs.tables})
    with pytest.raises(UserError, match=sentence):
        logs.prepare()


def test_an_empty_text_is_a_missing_id(logs):
    logs.write("parquet", **as_column("user_id", lambda user: "alice" if user == 1 else "  "))
    with pytest.raises(UserError, match="row 2, column user_id: '  ' is not a text or an integer"):
        logs.prepare("parquet")


@pytest.mark.parametrize(
    "text", ["alice", "0012", "", "ü" * 100, "B00X", "\u00a0B00X", "B00X\u3000", "\u2003", "\tB00X\n"]
)
def test_the_hash_of_sql_is_sha1(tmp_path, text):
    """Only U+0020 is a space around an id."""
    with connect(tmp_path, 1.0) as connection:
        row = connection.execute(f"SELECT {spelling.text_id('$1', 'VARCHAR')}", [f" {text}  "]).fetchone()
    expected = int.from_bytes(hashlib.sha1(text.encode()).digest()[:8], "big", signed=True) if text else None
    assert row == (expected,)


def test_dataset_json_of_before_has_its_numbers_by_their_names(logs):
    logs.write(events=numbered, impressions=numbered)
    path = logs.prepare().path / "dataset.json"
    before = json.loads(path.read_text())
    del before["schema"]["numbered"], before["schema"]["ids"]
    path.write_text(json.dumps(before))
    schema = PreparedDataset.open(path.parent).info.schema
    assert (schema.surfaces, schema.numbered, schema.ids) == (("2",), ("surface",), {})
