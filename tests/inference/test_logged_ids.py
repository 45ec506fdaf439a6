"""A log of text or unsigned ids, the whole road: requests and scores hold the ids as the log writes them."""

import uuid
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import runs

from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.export import export
from pinfm.inference.requests.ids import text_id
from pinfm.train.cli.main import main
from pinfm.train.config import RunConfig
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.options import PrepareOptions
from pinfm.train.data.prepare import prepare
from pinfm.train.data.sources.events import Events
from pinfm.train.phases import Place, finetune, pretrain

SPELL = {
    "text": (lambda user: f"Ü-{user:03}", lambda item: str(uuid.UUID(int=item))),
    "uint64": (lambda user: user, lambda item: 2**64 - 1 - item),
    "int64": (lambda user: user, lambda item: item),
}
CONFIG: RunConfig = replace(runs.CONFIG, max_history=6)


def write_log(folder, spell):
    """20 users with 12 events on 15 items, numbered surfaces, and a request of three items after each."""
    spell_user, spell_item = SPELL[spell]
    random = np.random.default_rng(3)
    events = pd.DataFrame({"user": np.repeat(np.arange(20), 12), "timestamp": 10_000 + 100 * np.arange(240)})
    events = events.assign(item=random.integers(15, size=240), surface=random.integers(3, size=240).astype(float))
    shown = events.loc[events.index.repeat(3)].assign(
        request_id=np.repeat(np.arange(240), 3), item=np.tile([1, 5, 9], 240), timestamp=lambda f: f["timestamp"] + 50
    )
    shown = shown.assign(click=random.integers(2, size=720), price=random.normal(size=720))
    for name, table in (("events", events.assign(action="click")), ("shown", shown)):
        ids = {"user_id": table["user"].map(spell_user), "item_id": table["item"].map(spell_item)}
        table.drop(columns=["user", "item"]).assign(**ids).to_csv(folder / f"{name}.csv", index=False)


@pytest.fixture(scope="module", params=SPELL)
def road(request, tmp_path_factory):
    """Dataset, run and model of one kind of ids, and how it spells them."""
    folder = tmp_path_factory.mktemp(request.param)
    write_log(folder, request.param)
    source = Events(
        path=folder / "events.csv",
        actions=["click"],
        impressions=folder / "shown.csv",
        tasks=["click"],
        dense_features=["price"],
    )
    prepare(source, folder / "dataset", PrepareOptions(num_buckets=4))
    pretrain(CONFIG, Place(data=folder / "dataset", out=folder / "pretrained"))
    finetune(CONFIG, Place(data=folder / "dataset", out=folder / "run", pretrained=folder / "pretrained"))
    export(folder / "run", folder / "model")
    return folder, request.param


def test_kept_requests_and_scores_hold_the_ids_of_the_log(road):
    folder, spell = road
    spell_user, spell_item = SPELL[spell]
    schema = PreparedDataset.open(folder / "dataset").info.schema
    assert schema.ids == (
        {} if spell == "int64" else {"item_id": spell} | ({"user_id": spell} if spell == "text" else {})
    )
    kept = pd.read_parquet(folder / "run" / "requests.parquet")
    items = {spell_item(item) for item in range(15)}
    assert set(kept["user_id"]) <= {spell_user(user) for user in range(20)}
    assert {item for cell in kept["history_item_id"] for item in cell} <= items
    scores = load(folder / "model").score(kept)
    assert scores["item_id"].tolist() == [item for cell in kept["candidate_item_id"] for item in cell]
    expected = np.concatenate(list(kept["expected_click"]))
    np.testing.assert_allclose(scores["click"], expected, atol=1e-5)


def test_evaluate_and_score_say_the_same_of_a_dataset_by_the_ids_of_the_log(road, tmp_path, capsys):
    folder, _ = road
    run, data = str(folder / "run"), str(folder / "dataset")
    for split in ("validation", "test"):
        kept, out = str(tmp_path / f"{split}.parquet"), str(tmp_path / f"scores-{split}.parquet")
        assert main(["evaluate", run, "--data", data, "--split", split, "--predictions", kept]) == 0
        score = ["score", str(folder / "model"), "--data", data, "--split", split, "--out", out, "--batch-size", "7"]
        assert main(score) == 0
        predicted, scored = pd.read_parquet(kept), pd.read_parquet(out)
        assert list(predicted) == ["request_id", "user_id", "timestamp", "item_id", "label_click", "click"]
        assert list(scored) == ["request", "request_id", "user_id", "timestamp", "item_id", "click"]
        assert scored["request"].is_monotonic_increasing
        assert scored.groupby("request")["request_id"].nunique().eq(1).all()
        assert f"{len(scored)} candidates of {scored['request'].max() + 1} requests" in capsys.readouterr().out
        # One row a candidate of the log, as the log has it.
        shown = pd.read_csv(folder / "shown.csv", dtype={"item_id": predicted["item_id"].dtype})
        keys = ["request_id", "user_id", "timestamp", "item_id"]
        joined = predicted.merge(scored, on=keys, suffixes=("", "_scored")).merge(shown, on=keys, suffixes=("", "_log"))
        assert len(joined) == len(predicted) == len(scored) > 30
        np.testing.assert_allclose(joined["click_scored"], joined["click"], atol=1e-5)
        np.testing.assert_array_equal(joined["label_click"], joined["click_log"] > 0)


def test_the_module_takes_the_integers_behind_them(road):
    folder, spell = road
    scorer, kept = load(folder / "model"), pd.read_parquet(folder / "run" / "requests.parquet")
    inputs = scorer.inputs(kept)
    ids = [item for cell in kept["candidate_item_id"] for item in cell]
    behind = {"text": text_id, "uint64": lambda item: int(item) - 2**64, "int64": int}[spell]
    assert inputs["candidate_item_id"].tolist() == [behind(item) for item in ids]
    assert scorer.module.item_ids == spell
    np.testing.assert_array_equal(scorer.module(inputs)["click"].numpy(), scorer.score(kept)["click"])


def test_ids_of_another_kind_are_refused(road):
    folder, spell = road
    scorer, kept = load(folder / "model"), pd.read_parquet(folder / "run" / "requests.parquet")
    column = "history_item_id"
    other, sentence = {
        "text": (12, "row 0: history_item_id holds a missing value or a number, but the log's ids are text"),
        "uint64": (-1, "row 0: history_item_id holds a .*, but the log's ids are unsigned"),
        "int64": ("B00X", r"row 0: history_item_id holds a missing value, or no whole number from -2\*\*63"),
    }[spell]
    filled = kept[kept["history_item_id"].map(len) > 0].head(2)
    with pytest.raises(UserError, match=sentence):
        scorer.score(filled.assign(**{column: [np.full(len(cell), other) for cell in filled[column]]}))


def test_a_run_goes_on_only_with_ids_written_alike(road, dataset, tmp_path):
    folder, spell = road
    if spell == "int64":
        pytest.skip("the log of the others is written so")
    other = tmp_path / "run"
    write_log(tmp_path, "int64")
    fields = {"actions": ["click"], "tasks": ["click"], "dense_features": ["price"]}
    source = Events(path=tmp_path / "events.csv", impressions=tmp_path / "shown.csv", **fields)
    prepare(source, tmp_path / "dataset", PrepareOptions(num_buckets=4))
    with pytest.raises(
        UserError, match=f"was pretrained on item_id as {spell}, the dataset has item_id as int64; prep"
    ):
        finetune(CONFIG, Place(data=tmp_path / "dataset", out=other, pretrained=folder / "pretrained"))


def test_requests_without_candidates_keep_the_type_of_the_ids(road):
    folder, _ = road
    scorer, kept = load(folder / "model"), pd.read_parquet(folder / "run" / "requests.parquet").head(2)
    lists = [column.name for column in scorer.columns if column.scope == "candidate"]
    none = kept.assign(**{name: [cell[:0] for cell in kept[name]] for name in lists})
    assert scorer.score(none)["item_id"].dtype == scorer.score(kept)["item_id"].dtype


def test_retrieval_finds_the_ids_of_the_log(road):
    """Those of the history, spelled as the log spells them, are not among them, nor is what is excluded."""
    folder, spell = road
    _, spell_item = SPELL[spell]
    items = [spell_item(item) for item in range(15)]
    pd.DataFrame({"item_id": items, "created_at": 0}).to_parquet(folder / "items.parquet")
    assert main(["index", str(folder / "model"), "--items", str(folder / "items.parquet")]) == 0
    requests = pd.read_parquet(folder / "run" / "requests.parquet")
    found = load(folder / "model").retrieve(requests.assign(exclude_item_id=[items[:4]] * len(requests)), k=20)
    for row, cell in enumerate(requests["history_item_id"]):
        assert set(found.loc[found["request"] == row, "item_id"]) == {*items[4:]} - {*cell}
    requests.to_parquet(folder / "requests.parquet")
    words = [folder / "model", folder / "requests.parquet", "--out", folder / "found.parquet", "--k", "3"]
    assert main(["retrieve", *map(str, words)]) == 0
    expected = load(folder / "model").retrieve(requests, k=3)
    assert pd.read_parquet(folder / "found.parquet")["item_id"].tolist() == expected["item_id"].tolist()
