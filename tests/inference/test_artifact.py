"""Loading a model folder and scoring from it: alone, in any batch, and with every mistake a caller can make."""

import json
import shutil
import sys
from contextlib import nullcontext
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
import runs
import torch

from pinfm.embeddings.errors import UserError
from pinfm.inference import load
from pinfm.inference.artifact import sha256, write_checksums
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.frames import to_inputs
from pinfm.model.schema import are_whole_numbers

TASKS = ["click", "save", "hide"]
WITHOUT_PINFM = """
import sys

class Forbid:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "pinfm":
            raise ModuleNotFoundError("pinfm is forbidden here")

sys.meta_path.insert(0, Forbid())
import fbgemm_gpu
import torch

module = torch.jit.load(sys.argv[1])
torch.save(module(torch.load(sys.argv[2])), sys.argv[3])
assert not [name for name in sys.modules if name.partition(".")[0] == "pinfm"]
try:
    import pinfm.model
except ModuleNotFoundError:
    print("pinfm was out of reach")
"""


@pytest.fixture(scope="module")
def scorer(exported):
    return load(exported)


@pytest.fixture
def requests(finetuned):
    frame = pd.read_parquet(finetuned / "requests.parquet")
    return frame[[name for name in frame if not name.startswith("expected_")]]


def test_the_file_scores_where_pinfm_cannot_be_imported(exported, scorer, requests, tmp_path):
    inputs = scorer.inputs(requests)
    torch.save(inputs, tmp_path / "inputs.pt")
    files = [exported / "scoring.pt", tmp_path / "inputs.pt", tmp_path / "scores.pt"]
    done = runs.command(sys.executable, "-W", "ignore", "-c", WITHOUT_PINFM, *files, cwd=tmp_path)
    assert "pinfm was out of reach" in done.stdout
    scores, expected = torch.load(tmp_path / "scores.pt"), scorer.score(requests)
    assert sorted(scores) == sorted(TASKS)
    for task in TASKS:
        np.testing.assert_array_equal(scores[task].numpy(), expected[task].to_numpy())


@pytest.mark.parametrize("batch_size", [1, 5, 1000])
def test_scores_do_not_depend_on_the_batch_size(scorer, requests, batch_size):
    pd.testing.assert_frame_equal(
        scorer.score(requests, batch_size), scorer.score(requests, 16), rtol=0, atol=1e-6, check_exact=False
    )


def test_scores_do_not_depend_on_the_other_requests(scorer, requests):
    order = np.random.default_rng(0).permutation(len(requests))
    scores, shuffled = scorer.score(requests), scorer.score(requests.iloc[order])
    place = np.argsort(order)
    back = shuffled.assign(request=order[shuffled["request"]]).sort_values("request", kind="stable")
    assert not np.array_equal(place, order)
    pd.testing.assert_frame_equal(back.reset_index(drop=True), scores, rtol=0, atol=1e-6)


def test_scores_do_not_depend_on_the_other_candidates(scorer, requests):
    lists = [column.name for column in scorer.columns if column.scope == "candidate"]
    last = requests.copy()
    for name in lists:
        last[name] = [cell[-1:] for cell in requests[name]]
    scores = scorer.score(requests).groupby("request").last()
    pd.testing.assert_frame_equal(scorer.score(last).set_index("request"), scores, rtol=0, atol=1e-6)


def test_a_candidates_id_history_and_surface_matter(scorer, requests):
    scores = scorer.score(requests)
    others = {name: [cell + 1 for cell in requests[name]] for name in ("history_item_id", "candidate_item_id")}
    others["surface"] = np.where(requests["surface"] == "home", "search", "home")
    for column, values in others.items():
        other = requests.assign(**{column: values})
        # Training was short, so the difference is small; rounding makes less than a tenth of this.
        assert (scorer.score(other)["click"] - scores["click"]).abs().max() > 1e-6, column


def test_names_of_actions_are_codes_and_unknown_ones_are_zero(scorer, requests):
    codes = {"click": 1, "save": 2, "hide": 3}
    coded = requests.assign(history_action=[[codes[name] for name in cell] for cell in requests["history_action"]])
    pd.testing.assert_frame_equal(scorer.score(coded), scorer.score(requests))
    unknown = requests.assign(history_action=[["never heard of"] * len(cell) for cell in requests["history_action"]])
    zeros = requests.assign(history_action=[np.zeros(len(cell), np.int64) for cell in requests["history_action"]])
    pd.testing.assert_frame_equal(scorer.score(unknown), scorer.score(zeros))
    assert scorer.inputs(unknown)["history_action"].unique().tolist() == [0]


def test_the_surface_of_a_request_is_a_name_or_its_code(scorer, requests):
    codes = {"home": 1, "related": 2, "search": 3}
    coded = requests.assign(surface=requests["surface"].map(codes))
    pd.testing.assert_frame_equal(scorer.score(coded), scorer.score(requests))
    assert scorer.inputs(requests)["surface"].tolist() == coded["surface"].tolist()
    for unknown in ("never heard of", None):
        assert scorer.inputs(requests.assign(surface=unknown))["surface"].unique().tolist() == [0]


@pytest.mark.parametrize(("clock_start", "refused"), [(0, False), (20_000_000, False), (1_600_000_000, True)])
def test_numbers_like_dates_are_seconds_of_a_clock_that_began_at_zero(scorer, requests, clock_start, refused):
    dated = requests.assign(
        request_timestamp=20_260_302,
        history_timestamp=[np.full(len(cell), 20_260_301) for cell in requests["history_timestamp"]],
    )
    checks = InputChecks(scorer.columns, 8, clock_start)
    with pytest.raises(UserError, match="holds 20260302, a date written as a number") if refused else nullcontext():
        to_inputs(dated, scorer.columns, checks)


def test_the_clock_is_in_the_signature_and_may_be_missing(exported, dataset, requests, tmp_path):
    assert load(exported).clock_start == json.loads((dataset / "dataset.json").read_text())["time_span"][0]
    older = shutil.copytree(exported, tmp_path / "older")
    signature = json.loads((older / "signature.json").read_text())
    del signature["clock_start"]
    (older / "signature.json").write_text(json.dumps(signature))
    manifest = json.loads((older / "manifest.json").read_text())
    manifest["sha256"] |= write_checksums(older)
    (older / "manifest.json").write_text(json.dumps(manifest))
    assert load(older).clock_start == 0
    pd.testing.assert_frame_equal(load(older).score(requests), load(exported).score(requests))


@pytest.mark.parametrize(
    ("vocabulary", "surface", "code"),
    [
        *((("4", "0", "-2"), surface, code) for surface, code in ((4, 1), (-2, 3), (0, 2), (7, 0), (1, 0), ("4", 1))),
        *((("4", "home"), surface, code) for surface, code in ((2, 2), (1, 1), ("4", 1), ("home", 2), (None, 0))),
    ],
)
def test_where_all_names_are_whole_numbers_a_number_is_a_name(scorer, requests, vocabulary, surface, code):
    numbered = are_whole_numbers(vocabulary)
    columns = [
        replace(c, vocabulary=vocabulary, numbered=numbered) if c.name == "history_surface" else c
        for c in scorer.columns
    ]
    given = requests.assign(history_surface=[[surface] * len(cell) for cell in requests["history_surface"]])
    assert to_inputs(given, columns, InputChecks(columns, 8))["history_surface"].unique().tolist() == [code]


def test_empty_histories_and_requests_without_candidates_are_scored(scorer, requests):
    requests = requests.head(3).copy()
    for column in scorer.columns:
        if column.scope == "history":
            requests[column.name] = [np.zeros(0, np.int64)] * 3
        if column.scope == "candidate":
            requests[column.name] = [cell[:0] if row == 1 else cell for row, cell in enumerate(requests[column.name])]
    scores = scorer.score(requests)
    assert scores["request"].unique().tolist() == [0, 2]
    assert scores[TASKS].notna().all(axis=None)


def test_a_batch_without_any_candidate_is_scored(scorer, requests):
    requests = requests.head(4).copy()
    for column in scorer.columns:
        if column.scope == "candidate":
            cells = list(requests[column.name])
            requests[column.name] = [cell if row < 2 else cell[:0] for row, cell in enumerate(cells)]
    pd.testing.assert_frame_equal(scorer.score(requests, batch_size=2), scorer.score(requests.head(2)))


def with_cell(name, row, change):
    def spoil(frame):
        cells = list(frame[name])
        cells[row] = change(cells[row])
        return frame.assign(**{name: cells})

    return spoil


def with_codes(name, row, code):
    """All cells as codes, one row's as this one."""
    return lambda frame: frame.assign(**{name: [[code if i == row else 1] * len(c) for i, c in enumerate(frame[name])]})


@pytest.mark.parametrize(
    ("spoil", "sentence"),
    [
        (lambda frame: frame.drop(columns="history_action"), "lack the column 'history_action'"),
        (lambda frame: frame.drop(columns="hour"), "lack the column 'hour'"),
        (lambda frame: frame.head(0), "there are no requests to score"),
        (lambda frame: frame.assign(user_id="alice"), "row 0: user_id holds a missing value, or no whole number"),
        (
            lambda frame: frame.assign(user_id=frame["user_id"] + 0.5),
            "row 0: user_id holds a missing value, a fraction",
        ),
        (lambda frame: frame.assign(user_id=2.0**53), "row 0: user_id holds .* a float too large to be exact"),
        (lambda frame: frame.assign(position=[["1.5"] * len(cell) for cell in frame["position"]]), "no number"),
        (lambda frame: frame.assign(request_timestamp="yesterday"), "row 0: request_timestamp holds .* no time"),
        (lambda frame: frame.assign(request_timestamp=pd.NaT), "row 0: request_timestamp holds a missing time"),
        (with_cell("history_item_id", 4, lambda cell: [*cell[:-1], None]), "row 4: history_item_id holds a missing"),
        (lambda frame: frame.assign(history_item_id=3), "row 0: history_item_id is no list"),
        (with_cell("position", 2, lambda cell: cell[:-1]), r"row 2: position has \d values, \w+ has \d"),
        (with_cell("history_action", 0, lambda cell: [*cell, 1]), "row 0: history_action has"),
        (with_codes("history_action", 1, 4), "row 1: history_action holds a code outside 0 to 3"),
        (with_codes("history_surface", 1, -1), "row 1: history_surface holds a code outside 0 to 3"),
        (lambda frame: frame.assign(surface=4), "row 0: surface holds a code outside 0 to 3"),
        (lambda frame: frame.drop(columns="surface"), "the requests lack the column 'surface'"),
        (
            with_cell("candidate_content", 2, lambda cell: [v[:2] for v in cell]),
            "row 2: candidate_content must be a list of vectors of 4 values",
        ),
        (
            with_cell("candidate_content", 3, lambda cell: cell * np.nan),
            "row 3: candidate_content .* not finite",
        ),
        (
            with_cell("candidate_item_id", 1, lambda cell: [2**64 - 1] * len(cell)),
            r"row 1: .* no whole number from -2\*\*63",
        ),
        (with_cell("history_action", 1, lambda cell: [1] * len(cell)), "row 1: history_action mixes names and"),
        (lambda frame: frame.assign(hour=frame["hour"] + 0.5), "row 0: hour holds a missing value, a fraction"),
        (with_cell("history_item_id", 0, lambda cell: "1234"), "row 0: history_item_id is no list"),
        (with_cell("history_item_id", 0, lambda cell: [[1]] * len(cell)), "row 0: history_item_id must be a list of v"),
        (lambda frame: pd.concat([frame, frame[["hour"]]], axis=1), "two columns called 'hour'"),
        (
            with_cell("history_timestamp", 1, lambda cell: cell[::-1]),
            "row 1: history_timestamp is not in order of time",
        ),
        (
            with_cell("history_timestamp", 2, lambda cell: cell * 1000),
            "row 2: history_timestamp holds .* lies in the future; give Unix seconds",
        ),
    ],
)
def test_a_frame_that_does_not_fit_is_one_sentence(scorer, requests, spoil, sentence):
    with pytest.raises(UserError, match=sentence):
        scorer.score(spoil(requests))


def test_the_newest_events_are_read_as_in_training(scorer, requests):
    """A history longer than the run's max_history scores as its newest events do."""
    assert scorer.max_history == runs.CONFIG.max_history
    assert (requests["history_item_id"].map(len) == 8).any()
    older = {"item_id": [7, 9], "action": ["click", "save"], "surface": ["home", None], "timestamp": [5, 6]}
    longer = requests.assign(
        **{
            f"history_{name}": [[*values, *cell] for cell in requests[f"history_{name}"]]
            for name, values in older.items()
        }
    )
    full = requests["history_item_id"].map(len).to_numpy() == 8
    rows = scorer.score(requests)["request"].map(lambda row: full[row])
    pd.testing.assert_frame_equal(scorer.score(longer)[rows], scorer.score(requests)[rows], rtol=0, atol=1e-6)


def test_another_batch_names_the_row_of_the_file(scorer, requests):
    spoilt = with_cell("position", 20, lambda cell: cell[:-1])(requests)
    with pytest.raises(UserError, match="row 20: position"):
        scorer.score(spoilt, batch_size=8)


@pytest.mark.parametrize("name", ["scoring.pt", "signature.json", "manifest.json"])
def test_a_missing_file_is_named(exported, tmp_path, name):
    shutil.copytree(exported, tmp_path / "model")
    (tmp_path / "model" / name).unlink()
    with pytest.raises(UserError, match=f"is not a model folder: it has no {name}"):
        load(tmp_path / "model")


@pytest.mark.parametrize("text", ["{", "{}", '{"sha256": {}, "tables": [{"name": "item_0"}]}'])
def test_a_manifest_of_something_else_is_refused(exported, tmp_path, text):
    model = shutil.copytree(exported, tmp_path / "model")
    (model / "manifest.json").write_text(text)
    with pytest.raises(UserError, match=r"manifest\.json is not what this pinfm writes; export the run again"):
        load(model)


@pytest.mark.parametrize("name", ["scoring.pt", "signature.json"])
def test_a_changed_file_is_refused(exported, tmp_path, name):
    model = shutil.copytree(exported, tmp_path / "model")
    content = bytearray((model / name).read_bytes())
    content[len(content) // 2] ^= 1
    (model / name).write_bytes(content)
    with pytest.raises(UserError, match=f"{name} was changed after its export"):
        load(model)


def test_the_digest_is_sha256(tmp_path):
    (tmp_path / "file").write_bytes(b"abc")
    assert sha256(tmp_path / "file") == "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"


def test_the_signature_lists_every_input_of_the_module(exported, requests, scorer):
    signature = json.loads((exported / "signature.json").read_text())
    names = {column["name"] for column in signature["inputs"]} | set(signature["lengths"])
    assert names == set(scorer.inputs(requests))
