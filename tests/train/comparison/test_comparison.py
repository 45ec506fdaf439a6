"""What a comparison takes, and what it refuses."""

import json
from dataclasses import replace

import pytest
import runs

from pinfm.embeddings.errors import UserError
from pinfm.train.comparison.comparison import Comparison, parse_forms, require_splits
from pinfm.train.comparison.places import Places, best_rate, mean_auc


@pytest.fixture
def comparison(dataset, tmp_path):
    return Comparison(
        config=runs.CONFIG,
        data=dataset,
        out=tmp_path / "out",
        forms={"dot": "dot", "two": {"stacked": ["dcn_v2_low_rank", "dcn_v2_low_rank"]}},
        learning_rates=(0.001, 0.003),
        seeds=(3, 4),
    )


def test_forms_are_names_and_compositions():
    assert parse_forms(["dot", "{stacked: [dot, dot]}", "deep={form: gdcn, layers: 2}"]) == {
        "dot": "dot",
        "{stacked: [dot, dot]}": {"stacked": ["dot", "dot"]},
        "deep": {"form": "gdcn", "layers": 2},
    }


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["{stacked: ["], "is no YAML; write a name, or such as '{stacked:"),
        (["[dot]"], "is neither a name nor a composition"),
        (["3"], "is neither a name nor a composition"),
        (["dot", "dot"], "two forms are called dot; give one of them a name of its own, as in other=dot"),
    ],
)
def test_what_is_no_form_is_refused(words, told):
    with pytest.raises(UserError, match=told):
        parse_forms(words)


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"forms": {"guess": "guess"}}, "ranker.interaction .'guess'.*must be one of"),
        ({"forms": {}}, "forms is empty; give at least one"),
        ({"seeds": ()}, "seeds is empty"),
        ({"seeds": (1, 1)}, r"seeds \[1, 1\] holds one of them twice"),
        ({"seeds": (0, 1 << 32)}, r"seed \(4294967296\) must be below"),
        ({"learning_rates": (0.1, 0.10000001)}, r"learning_rates \[0.1, 0.10000001\] holds one of them twice"),
        ({"learning_rates": (0.1, 0.0)}, r"learning_rates \(0.0\) must be above 0"),
    ],
)
def test_what_cannot_be_compared_is_refused(comparison, changes, told):
    with pytest.raises(UserError, match=told):
        replace(comparison, **changes)


def test_a_run_differs_by_form_rate_and_seed_alone(comparison):
    config = comparison.run_config("two", 0.003, 4)
    assert config.ranker.interaction == {"stacked": ["dcn_v2_low_rank", "dcn_v2_low_rank"]}
    assert (config.seed, config.finetune.optimizer.dense_lr) == (4, 0.003)
    optimizer = replace(config.finetune.optimizer, dense_lr=runs.CONFIG.finetune.optimizer.dense_lr)
    back = replace(
        config,
        seed=runs.CONFIG.seed,
        ranker=replace(config.ranker, interaction=runs.CONFIG.ranker.interaction),
        finetune=replace(config.finetune, optimizer=optimizer),
    )
    assert back == runs.CONFIG


def test_a_worker_reads_what_was_written(comparison):
    comparison.write()
    assert Comparison.read(comparison.out) == comparison


def test_forms_with_figures_stay_when_others_come(comparison):
    comparison.write()
    Places(comparison.out, "dot").write(0.001, 3, {})
    later = replace(comparison, forms={"cross": "dcn_v2_full_rank"}, seeds=(3, 4, 5))
    assert later.joined().forms == {"dot": "dot", "cross": "dcn_v2_full_rank"}


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"learning_rates": (0.1,)}, r"was made with learning_rates \[0.001, 0.003\], not \[0.1\]"),
        ({"seeds": (4, 3)}, "was made with first_seed 3, not 4; give the settings that it was made with"),
        ({"config": replace(runs.CONFIG, max_history=4)}, "was made with max_history 8, not 4"),
        ({"forms": {"dot": "dcn_v2_low_rank"}}, "holds another form called dot"),
    ],
)
def test_other_settings_than_those_of_the_folder_are_refused(comparison, changes, told):
    comparison.write()
    Places(comparison.out, "dot").write(0.001, 3, {})
    with pytest.raises(UserError, match=told):
        replace(comparison, **changes).joined()


def test_a_setting_that_came_later_was_its_default(comparison):
    comparison.write()
    path = comparison.out / "comparison.json"
    values = json.loads(path.read_text())
    del values["settings"]["config"]["cold_start"]["alignment_weight"]  # 0.1, as it is by default
    path.write_text(json.dumps(values))
    assert comparison.joined() == comparison
    other = replace(runs.CONFIG, cold_start=replace(runs.CONFIG.cold_start, alignment_weight=0.5))
    with pytest.raises(UserError, match=r"was made with cold_start.alignment_weight 0\.1, not 0\.5"):
        replace(comparison, config=other).joined()


def test_another_dataset_is_refused(comparison, tmp_path):
    comparison.write()
    (tmp_path / "dataset.json").write_text((comparison.data / "dataset.json").read_text() + "\n")
    with pytest.raises(UserError, match="was made with dataset"):
        replace(comparison, data=tmp_path).joined()


def test_a_folder_of_something_else_is_refused(comparison):
    comparison.out.mkdir()
    (comparison.out / "comparison.json").write_text("{}")
    with pytest.raises(UserError, match="is not what a comparison writes; give another --out"):
        comparison.joined()


def test_a_dataset_without_a_split_is_refused(dataset, tmp_path):
    require_splits(dataset)
    info = json.loads((dataset / "dataset.json").read_text())
    info["counts"]["requests"]["validation"] = 0
    (tmp_path / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match="has no validation requests, which a comparison needs"):
        require_splits(tmp_path)


def test_the_rate_is_chosen_on_the_validation_split(tmp_path):
    places = Places(tmp_path, "{stacked: [dot, dot]}")
    aucs = {0.001: (0.6, 0.9), 0.003: (0.7, 0.8), 0.01: (0.7, 0.95)}
    for rate, (validation, test) in aucs.items():
        assert best_rate(places, tuple(aucs), 0) is None
        figures = {name: {"click": {"auc": auc}} for name, auc in (("validation", validation), ("test", test))}
        places.write(rate, 0, figures)
    assert best_rate(places, tuple(aucs), 0) == 0.003


def test_folders_of_compositions_have_plain_names(tmp_path):
    folders = {Places(tmp_path, name).folder for name in ("gdcn", "../gdcn", "{stacked: [a/b]}", ".hidden")}
    assert "gdcn" in folders
    assert len(folders) == 4
    assert all("/" not in folder and folder[0].isalpha() for folder in folders)


def test_a_task_of_one_class_has_no_say():
    assert mean_auc({"a": {"auc": 0.8}, "b": {"auc": None}}) == 0.8
    assert mean_auc({"b": {"auc": None}}) == 0.5
