"""A host that was stopped goes on as if it had not been; a file that is not whole is not read."""

import re
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from counting_models import model_of

from pinfm.embeddings.errors import UserError
from pinfm.inference import LiveCounts
from pinfm.inference.live_counts.saved import FORMAT, read_arrays
from pinfm.model.live_counts import LiveCountsSpec

START = 1_700_000_000
SPEC = LiveCountsSpec(
    of=("item", "user.shop"), kinds=("click", "label_buy"), windows=("1h", "all"), label_delay_seconds=9
)


def stream(seed, start, size=400, items=150):
    rng = np.random.default_rng(seed)
    columns = {"item_id": items, "user_id": 5, "shop": 20}
    marks = {name: rng.integers(0, most, size) for name, most in columns.items()}
    kinds = rng.choice(SPEC.kinds, size)
    return pd.DataFrame({"timestamp": start + rng.integers(0, 1000, size), "kind": kinds, **marks})


def answers(counts, now):
    return pd.DataFrame(counts.at(now, range(150), 3, {"shop": np.arange(150) % 20}))


@pytest.mark.parametrize("max_keys", [100, 10_000])
def test_a_loaded_one_goes_on_as_if_it_had_not_been_stopped(tmp_path, max_keys):
    """Evictions and given-back rows, waiting marks, late ones and requests behind the clock included."""
    counts = LiveCounts(SPEC, max_keys=max_keys)
    for part in range(4):
        counts.add(stream(part, START + 500 * part))
        counts.advance(START + 500 * part + 100)
    answers(counts, START)
    counts.save(tmp_path / "counts")
    other = LiveCounts.load(tmp_path / "counts")
    assert other.stats()["pending"] > 300
    for now in (START + 1600, START + 2000, START + 9000):
        for part in (counts, other):
            part.add(stream(now, now - 200))
        pd.testing.assert_frame_equal(answers(other, now), answers(counts, now))
        left, right = counts.stats(), other.stats()
        for name in ("keys", "pending", "late", "evicted", "behind"):
            assert left[name] == right[name], name
    assert (left["evicted"] > 0) == (max_keys == 100)
    assert (other.spec, other.max_keys, other.clock) == (SPEC, max_keys, START + 9000)
    counts.save(tmp_path / "one")
    other.save(tmp_path / "other")
    mine, theirs = read_arrays(tmp_path / "one"), read_arrays(tmp_path / "other")
    assert mine[0] == theirs[0]
    assert mine[1]["pending"].tolist() == theirs[1]["pending"].tolist()


def test_an_empty_one_is_saved_too(tmp_path):
    LiveCounts(SPEC, ids={"item_id": "text"}).save(tmp_path / "counts")
    counts = LiveCounts.load(tmp_path / "counts")
    assert (counts.clock, counts.stats()["keys"]) == (0, {"item": 0, "user.shop": 0})
    assert counts.at(START, ["B00"], 1, {"shop": [1]})["item_click_all"].tolist() == [0]


@pytest.fixture
def saved(tmp_path):
    counts = LiveCounts(SPEC)
    counts.add(stream(0, START))
    counts.advance(START + 100)
    counts.save(tmp_path / "counts")
    return tmp_path / "counts"


def changed(data, place):
    spoilt = bytearray(data)
    spoilt[place] ^= 1
    return bytes(spoilt)


SPOILT = {
    "a bit of the header": lambda data: changed(data, 60),
    "a bit of the arrays": lambda data: changed(data, len(data) // 2),
    "a bit of the digest": lambda data: changed(data, len(data) - 1),
    "cut short": lambda data: data[:-100],
    "cut to its first line": lambda data: data[: len(FORMAT) + 2],
    "longer": lambda data: data + b"\0",
}


@pytest.mark.parametrize("how", SPOILT)
def test_a_file_that_is_not_what_was_written_is_refused(saved, how):
    saved.write_bytes(SPOILT[how](saved.read_bytes()))
    with pytest.raises(UserError, match=r"counts is damaged or not whole \(sha256 differs\); load another, or feed"):
        LiveCounts.load(saved)


def test_another_version_is_refused(saved):
    data = saved.read_bytes()
    saved.write_bytes(data.replace(FORMAT + b"1", FORMAT + b"2", 1))
    with pytest.raises(UserError, match="counts is of version 2 of the format, this pinfm reads 1; feed a new object"):
        LiveCounts.load(saved)


@pytest.mark.parametrize("content", [b"", b"PAR1 something else", bytes(1000)])
def test_another_file_is_refused(saved, content):
    saved.write_bytes(content)
    with pytest.raises(UserError, match="counts holds no live counts; give a file that `save` wrote"):
        LiveCounts.load(saved)


def test_no_file_is_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere can't be read \(No such file or directory\); give a file that `sav"):
        LiveCounts.load(tmp_path / "nowhere")


def test_a_folder_is_no_file_to_save_to(tmp_path):
    with pytest.raises(UserError, match=f"^{re.escape(str(tmp_path))} is a folder; give a file to save to"):
        LiveCounts(SPEC).save(tmp_path)


def test_what_was_there_stays_where_saving_fails(saved, monkeypatch):
    before = saved.read_bytes()
    counts = LiveCounts.load(saved)
    monkeypatch.setattr("pinfm.inference.live_counts.saved.PART", 0)  # range() refuses such a step
    with pytest.raises(ValueError, match="must not be zero"):
        counts.save(saved)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [saved.name]


OTHERS = {
    "of": ({"of": ("item",)}, {}, r"holds counters with of \('item', 'user.shop'\), but .* asks for \('item',\); feed"),
    "kinds": ({"kinds": ("click",)}, {}, r"with kinds \('click', 'label_buy'\), but"),
    "windows": ({"windows": ("1h",)}, {}, r"with windows \('1h', 'all'\), but"),
    "label_delay_seconds": ({"label_delay_seconds": 1}, {}, r"with label_delay_seconds 9, but .* asks for 1; feed a"),
    "ids": ({}, {"item_id": "text"}, "holds item_id as int64, but .* takes text; feed a new object"),
}


@pytest.mark.parametrize("difference", OTHERS)
def test_other_counters_than_the_models_are_refused(saved, tmp_path, difference):
    changes, ids, sentence = OTHERS[difference]
    with pytest.raises(UserError, match=sentence):
        LiveCounts.load(saved, model_of(tmp_path / "model", replace(SPEC, **changes), ids))


def test_a_model_with_other_rates_fits(saved, tmp_path):
    model = model_of(tmp_path / "model", replace(SPEC, rates={"click": 0.5}), {})
    assert LiveCounts.load(saved, model).clock == START + 100
