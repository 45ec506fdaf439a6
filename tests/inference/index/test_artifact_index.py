"""The index of a model folder: made with the model or after it, searched, ranked, and refused."""

import json
import runpy
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import runs
import torch

import pinfm.inference.index.build as build_module
from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.export import export
from pinfm.inference.index.build import write_index
from pinfm.inference.options import ExportOptions, IndexOptions
from pinfm.train.cli.main import main
from pinfm.train.phases import finetune
from pinfm.train.run_folder.place import Place

FLAGS = ["--index-attributes", "[topic]"]


@pytest.fixture(scope="module")
def items(dataset):
    return dataset / "items.parquet"


@pytest.fixture(scope="module", params=["whole", "apart"])
def model(root, finetuned, items, request):
    folder = root / f"indexed_{request.param}"
    words = ["export", str(finetuned), "--out", str(folder), "--layout", request.param, "--index", str(items), *FLAGS]
    assert main(words) == 0
    return folder


@pytest.fixture
def copied(model, tmp_path):
    return shutil.copytree(model, tmp_path / "model")


@pytest.fixture(scope="module")
def scorer(model):
    return load(model)


@pytest.fixture
def requests(finetuned):
    return pd.read_parquet(finetuned / "requests.parquet").drop(columns=["candidate_item_id", "candidate_content"])


def test_the_signature_says_where_the_index_is(model):
    told = json.loads((model / "signature.json").read_text())["retrieval"]
    assert (model / told["index"]).is_file()
    assert json.loads((model / told["index"]).read_text())["kind"] == "exact"


def same_position(found):
    return pd.DataFrame({"position": np.zeros(len(found), np.float32)})


def test_it_finds_what_float_vectors_find(scorer, requests, items):
    """But for neighbours that int8 can't tell apart."""
    found = scorer.retrieve(requests, k=10)
    assert found.columns.tolist() == ["request", "item_id", "inner_product"]
    inputs = scorer.retrieval_inputs(requests)
    users = scorer.module.user_vectors(scorer.module.encode(inputs), inputs)
    ids = torch.from_numpy(np.sort(pd.read_parquet(items)["item_id"].to_numpy()))
    exact = users @ scorer.module.catalogue_vectors(ids).T
    for row, cell in enumerate(requests["history_item_id"]):
        mine = found[found["request"] == row]
        assert not set(mine["item_id"]) & set(cell)
        assert mine["inner_product"].is_monotonic_decreasing
        places = np.searchsorted(ids.numpy(), mine["item_id"])
        if len(cell):
            np.testing.assert_allclose(mine["inner_product"], exact[row, places], atol=0.02)
            allowed = exact[row, ~torch.isin(ids, torch.tensor(np.array(cell)))]
            assert exact[row, places].min() >= allowed.sort(descending=True).values[9] - 0.02


def test_the_batch_changes_nothing(scorer, requests):
    found = scorer.retrieve(requests, k=7)
    alone = [scorer.retrieve(requests.iloc[[row]], k=7, first_row=row) for row in range(len(requests))]
    pd.testing.assert_frame_equal(pd.concat(alone, ignore_index=True), found, rtol=0, atol=1e-6)


def test_seen_excluded_and_filtered_items_are_never_found(scorer, requests, items):
    table = pd.read_parquet(items).set_index("item_id")
    topic = int(table["topic"].iloc[0])
    of_topic = set(table.index[table["topic"] == topic])
    some = sorted(of_topic)[:3]
    asked = requests.assign(exclude_item_id=[some] * len(requests), filter_topic=[[topic, 99]] * len(requests))
    found = scorer.retrieve(asked, k=500)
    for row, cell in enumerate(requests["history_item_id"]):
        expected = of_topic - set(cell) - set(some)
        assert set(found.loc[found["request"] == row, "item_id"]) == expected  # fewer than k: all that are left
    nothing = requests.assign(exclude_item_id=[[]] * len(requests), filter_topic=[[]] * len(requests))
    pd.testing.assert_frame_equal(scorer.retrieve(nothing, k=5), scorer.retrieve(requests, k=5))


def test_recommend_is_retrieve_and_score(scorer, requests, finetuned, items):
    found = scorer.recommend(requests, k=6, features=same_position)
    pd.testing.assert_frame_equal(found[["request", "item_id", "inner_product"]], scorer.retrieve(requests, k=6))
    table = pd.read_parquet(items).set_index("item_id")
    lists = found.groupby("request")["item_id"].apply(list)
    given = requests.assign(
        candidate_item_id=lists,
        candidate_created_at=[table.loc[cell, "created_at"].to_list() for cell in lists],
        candidate_content=[table.loc[cell, "content"].to_list() for cell in lists],
        topic=[table.loc[cell, "topic"].to_list() for cell in lists],
        position=[[0.0] * len(cell) for cell in lists],
    )
    expected = scorer.score(given)
    pd.testing.assert_frame_equal(found[expected.columns], expected, rtol=0, atol=1e-6)
    with pytest.raises(UserError, match="nobody knows position of the candidates: it is not in the items table of the"):
        scorer.recommend(requests, k=6)
    with pytest.raises(UserError, match="row 0: candidate_content must be a vector of 4 values"):
        scorer.recommend(
            requests, k=6, features=lambda found: same_position(found).assign(candidate_content=[[1.0]] * len(found))
        )
    with pytest.raises(UserError, match=r"features gave 1 rows for \d+ candidates; give each its own, in order"):
        scorer.recommend(requests, k=6, features=lambda found: same_position(found)[:1])


def test_a_user_without_a_history_finds_what_the_mean_user_finds(scorer, requests):
    """The mean over the requests that the run kept, of those with a history."""
    empty = {name: [[] for _ in range(len(requests))] for name in requests if name.startswith("history_")}
    found = scorer.retrieve(requests.assign(**empty), k=5)
    assert found.groupby("request")["item_id"].apply(list).map(tuple).nunique() == 1
    inputs = scorer.retrieval_inputs(requests)
    users = scorer.module.user_vectors(scorer.module.encode(inputs), inputs)
    mean = users[(users != 0).any(1)].mean(0)
    ids = torch.from_numpy(found["item_id"].to_numpy()[:5])
    np.testing.assert_allclose(found["inner_product"][:5], scorer.module.catalogue_vectors(ids) @ mean, atol=0.02)


def test_an_index_is_made_again_and_is_the_same(copied, items, capsys):
    first = (copied / "index" / "index.json").read_text()
    before = {path.name: path.read_bytes() for path in (copied / "index" / "parts").iterdir()}
    assert main(["index", str(copied), "--items", str(items), *FLAGS]) == 0
    assert "index: 120 items\n" in capsys.readouterr().out
    assert {path.name: path.read_bytes() for path in (copied / "index" / "parts").iterdir()} == before
    assert json.loads(first)["items"] == json.loads((copied / "index" / "index.json").read_text())["items"] == 120
    assert not [path for path in copied.iterdir() if path.name.endswith((".tmp", ".old"))]


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_an_index_of_another_model_is_refused(copied, finetuned, root):
    other = root / "indexed_other"
    export(finetuned, other, ExportOptions(precision="int8", max_auc_loss=1))
    shutil.copytree(copied / "index", other / "index")
    scorer = load(other)
    with pytest.raises(UserError, match=r"index is of another scoring.pt than .* make it again with `pinfm index`\.$"):
        scorer.retrieve(pd.read_parquet(finetuned / "requests.parquet"))


def test_a_changed_index_is_refused(copied, requests):
    for name, sentence in (
        ("parts/rows.bin", "rows.bin was changed after its export"),
        ("items.parquet", "items.parquet is missing or was changed; make the index again"),
        ("index.pt", "index.pt is missing or was changed; make the index again"),
        ("index.json", "index.json is not what this pinfm writes; make the index again"),
    ):
        path = copied / "index" / name
        whole = path.read_bytes()
        path.write_bytes(bytes([whole[0] ^ 1]) + whole[1:])
        with pytest.raises(UserError, match=sentence):
            load(copied).retrieve(requests)
        path.write_bytes(whole)
    path = copied / "index" / "index.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "kind": "faiss"}))
    with pytest.raises(UserError, match=r"index\.json is not what this pinfm writes; make the index again"):
        load(copied).retrieve(requests)
    shutil.rmtree(copied / "index")
    with pytest.raises(UserError, match=r"has no index; make one with `pinfm index .*model --items ITEMS.parquet`"):
        load(copied).retrieve(requests)


def test_bad_searches_are_one_sentence(scorer, requests):
    for spoilt, k, sentence in (
        (requests, 0, r"k \(0\) must be at least 1"),
        (requests[:0], 1, "there are no requests to score"),
        (requests.drop(columns="history_action"), 1, "the requests lack the column 'history_action'"),
        (
            requests.assign(filter_hour=[[1]] * len(requests)),
            1,
            "the index takes no column 'filter_hour', but exclude_",
        ),
        (
            requests.assign(exclude_item_id=[["x"]] * len(requests)),
            1,
            "row 0: exclude_item_id holds a missing value, or",
        ),
        (requests.assign(request_timestamp=5), 1, "row 0: history_timestamp holds an event that is not older"),
    ):
        with pytest.raises(UserError, match=sentence):
            scorer.retrieve(spoilt, k=k)


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_items_tables_are_looked_at(copied, items, tmp_path):
    table, scorer = pd.read_parquet(items), load(copied)

    def written(frame):
        frame.to_parquet(tmp_path / "items.parquet")
        return write_index(scorer, IndexOptions(items=tmp_path / "items.parquet", attributes=("topic",)))

    twice = written(pd.concat([table, table[:7]]).sample(frac=1, random_state=0))
    assert (twice["items"], twice["duplicates"], twice["without_row"]) == (120, 7, 0)
    for spoilt, sentence in (
        (table[:0], "items.parquet holds no items; give a table with at least one row"),
        (table.drop(columns="item_id"), "items.parquet has no column 'item_id'; it has"),
        (table.drop(columns="topic"), "items.parquet has no column 'topic'; it has"),
        (table.assign(item_id=table["item_id"].where(table.index != 3)), "row 3: item_id holds a missing value"),
        (table.assign(content=[[float("nan")] * 4] * 120), "row 0: content holds a value that is not finite"),
        (table.assign(content=[[1.0]] * 120), "row 0: content must be a vector of 4 values"),
        (table.assign(content="abcd"), "row 0: content must be a vector of 4 values"),
        (table.assign(content=[["a"] * 4] * 120), "row 0: content must be a vector of 4 values"),
        (table.assign(created_at=np.nan), "row 0: created_at holds a missing value"),
        (table.assign(topic=pd.Timestamp("2024-01-01")), "row 0: topic holds a missing value, or no whole number"),
    ):
        with pytest.raises(UserError, match=sentence):
            written(spoilt)
    table.assign(position=1.5).to_parquet(tmp_path / "items.parquet")
    with pytest.raises(UserError, match="position is a number that the model measures by; filter by columns of categ"):
        write_index(scorer, IndexOptions(items=tmp_path / "items.parquet", attributes=("position",)))
    parts = tmp_path / "parts"
    parts.mkdir()
    with pytest.raises(UserError, match=r"holds no file ending in \.parquet; give the folder of the items"):
        write_index(scorer, IndexOptions(items=parts))
    table.to_parquet(parts / "a.parquet")
    table.assign(topic="x").to_parquet(parts / "b.parquet")
    with pytest.raises(UserError, match=r"do not fit each other .*incompatible types.*; write them with one schema"):
        write_index(scorer, IndexOptions(items=parts))
    pq.write_table(pa.table([[1], [2]], names=["item_id", "item_id"]), tmp_path / "items.parquet")
    with pytest.raises(UserError, match=r"items\.parquet has two columns called 'item_id'; rename or drop one"):
        write_index(scorer, IndexOptions(items=tmp_path / "items.parquet"))
    (tmp_path / "items.parquet").write_text("no Parquet")
    with pytest.raises(UserError, match="can't be read as Parquet; give a Parquet file of items"):
        write_index(scorer, IndexOptions(items=tmp_path / "items.parquet"))


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_ids_are_found_as_the_log_writes_them(copied, items, requests, tmp_path):
    """However the items table spells them."""
    expected = load(copied).retrieve(requests, k=5)
    table = pd.read_parquet(items)
    for spelt in (str, float):
        table.assign(item_id=table["item_id"].map(spelt)).to_parquet(tmp_path / "items.parquet")
        write_index(load(copied), IndexOptions(items=tmp_path / "items.parquet"))
        pd.testing.assert_frame_equal(load(copied).retrieve(requests, k=5), expected)


def test_items_too_old_for_the_model_to_read_are_not_found_either(scorer, requests):
    ids = np.arange(40)
    times = requests["request_timestamp"].iloc[0] - 1000 + ids
    long = requests.iloc[:1].assign(
        history_item_id=[ids], history_timestamp=[times], history_action=[[1] * 40], history_surface=[[1] * 40]
    )
    assert scorer.max_history < 40
    assert set(scorer.retrieve(long, k=2**70)["item_id"]) == set(range(40, 120))


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_the_verb_finds_what_python_finds(model, scorer, requests, tmp_path):
    requests.to_parquet(tmp_path / "requests.parquet")
    out = tmp_path / "found.parquet"
    assert main(["retrieve", str(model), str(tmp_path / "requests.parquet"), "--out", str(out), "--k", "9"]) == 0
    pd.testing.assert_frame_equal(pd.read_parquet(out), scorer.retrieve(requests, k=9), check_dtype=False)


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_flags_that_do_not_fit_are_one_sentence(model, finetuned, items, tmp_path, capsys):
    for words, sentence in (
        (["export", finetuned, "--out", tmp_path / "m", *FLAGS], "--index-attributes says what an index is; give"),
        (["index", model, "--items", tmp_path / "none"], "none does not exist; give a Parquet file of items"),
        (["index", model, "--items", items, "--index-attributes", "[topic,topic]"], "must be columns, each named once"),
        (["index", model, "--items", items, "--index-attributes", "[created_at]"], "and none of item_id, created_at"),
        (["retrieve", model, items, "--out", tmp_path / "o", "--k", "0"], r"--k (0) must be at least 1"),
    ):
        assert main(list(map(str, words))) == 2
        assert sentence in capsys.readouterr().err


@pytest.mark.parametrize("model", ["whole"], indirect=True)
def test_the_example_ranks_what_it_retrieves(model, requests, tmp_path, capsys):
    requests.to_parquet(tmp_path / "requests.parquet")
    example = Path(__file__).parents[3] / "examples" / "retrieve_then_rank.py"
    runpy.run_path(str(example))["main"](str(model), str(tmp_path / "requests.parquet"))
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["request", "item_id", "inner_product", "click", "save", "hide"]
    assert len(lines) == 1 + 5 * len(requests)


def test_a_run_without_a_tower_has_no_index(finetuned, items, tmp_path):
    run = shutil.copytree(finetuned, tmp_path / "run")
    manifest = json.loads((run / "manifest.json").read_text())
    manifest["config"]["use_tower"] = False
    (run / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="use_tower: false, so it makes no vectors of items; export without --index"):
        export(run, tmp_path / "model", ExportOptions(index=IndexOptions(items=items)))


@pytest.mark.parametrize("model", ["apart"], indirect=True)
def test_what_no_index_can_be_made_of_is_one_sentence(copied, items, monkeypatch):
    options = IndexOptions(items=items)
    with monkeypatch.context() as patches:
        patches.setattr(build_module, "MOST_ITEMS", 100)
        with pytest.raises(UserError, match="an index holds at most 100 items of width 1040, not 120 of 8; give fewer"):
            write_index(load(copied), options)
    scorer = load(copied)
    scorer.module.place("item_tables.item_0", torch.full((200, 4), torch.nan))
    with pytest.raises(UserError, match="the model gives an item a vector that is not finite"):
        write_index(scorer, options)
    manifest = json.loads((copied / "manifest.json").read_text())
    del manifest["mean_user_vector"]
    (copied / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(UserError, match="has no tower that makes vectors of users and items, or is of an older pinfm"):
        write_index(load(copied), options)


def test_items_without_a_row_are_left_out_and_counted(dataset, items, tmp_path, capsys):
    """Managed ids: what training does not know would all have one vector."""
    config = replace(
        runs.CONFIG,
        item_table=replace(runs.CONFIG.item_table, ids="managed"),
        managed_ids=replace(runs.CONFIG.managed_ids, min_count=0),
    )
    finetune(config, Place(data=dataset, out=tmp_path / "run"))
    table = pd.read_parquet(items)
    unknown = table[:9].assign(item_id=np.arange(-9, 0))
    pd.concat([unknown, table]).to_parquet(tmp_path / "items.parquet")
    words = ["export", tmp_path / "run", "--out", tmp_path / "model", "--index", tmp_path / "items.parquet"]
    assert main([str(word) for word in words]) == 0
    told = json.loads((tmp_path / "model" / "index" / "index.json").read_text())
    assert 50 < told["items"] <= 120
    assert told["without_row"] == 129 - told["items"]
    assert (
        f"{told['items']} items; left out: {told['without_row']} without a row in the tables" in capsys.readouterr().out
    )
    found = load(tmp_path / "model").retrieve(pd.read_parquet(tmp_path / "run" / "requests.parquet"), k=200)
    assert found["item_id"].min() >= 0
    unknown.to_parquet(tmp_path / "unknown.parquet")
    with pytest.raises(UserError, match="the model knows none of its 9 items; give the run's own items"):
        write_index(load(tmp_path / "model"), IndexOptions(items=tmp_path / "unknown.parquet"))
