"""Sentences name settings as the command line writes them, and lists need no brackets."""

import pytest
import runs
from jsonargparse import ArgumentParser

from pinfm.embeddings.errors import UserError
from pinfm.train.cli import interactions
from pinfm.train.cli.flags.lists import number_list, with_brackets
from pinfm.train.cli.flags.spelled import as_flags
from pinfm.train.cli.main import main, run_verb
from pinfm.train.cli.run_flags import add_config_flags


@pytest.fixture
def parser():
    parser = ArgumentParser()
    add_config_flags(parser)
    return parser


@pytest.fixture
def told(tmp_path, capsys):
    """What a training verb says of some flags."""
    config = str(runs.write_config(runs.CONFIG, tmp_path / "config.yaml"))

    def of(*flags, verb="pretrain"):
        words = [verb, "--config", config, "--data", str(tmp_path / "none"), "--out", str(tmp_path / "run"), *flags]
        assert main(words) == 2
        return capsys.readouterr().err.strip()

    return of


@pytest.mark.parametrize(
    ("flags", "sentence"),
    [
        (["--cold_start.alignment_weight", "-1"], "--cold_start.alignment_weight (-1.0) must be at least 0."),
        (["--tower.num_heads", "3"], "--tower.num_heads (3) must divide --tower.dim (16) into heads"),
        (["--pretrain.batch_size", "6"], "--pretrain.batch_size (6) must be a multiple of --data_streams (4)."),
        (["--seed", "-1"], "--seed (-1) must be at least 0."),
        (["--finetune.optimizer.dense_lr", "0"], "--finetune.optimizer.dense_lr (0.0) must be above 0."),
        (["--pretrain.optimizer.dense_lr=0"], "--pretrain.optimizer.dense_lr (0.0) must be above 0."),
        (["--finetune.adversarial_radius", "1", "--use_tower", "false"], "but --use_tower is false; set it to 0."),
        (["--tower.dropout", "much"], "--tower.dropout must be a number, and 'much' is none."),
        (["--tower.num_layers", "2.5"], "--tower.num_layers must be a whole number, and '2.5' is none."),
        (["--ranker.over_hidden", "64,wide"], "--ranker.over_hidden must be a whole number, and 'wide' is none."),
        # Of the form in YAML, which is no flag's.
        (["--ranker.cross_rank", "3"], "cross_rank is now set in `ranker.interaction: {parallel: [input, {form: "),
    ],
)
def test_a_setting_is_spelled_as_its_flag(told, flags, sentence):
    assert sentence in told(*flags)


def test_a_setting_of_a_file_is_spelled_as_the_flags_that_it_may_be(parser):
    sentence = "optimizer.warmup_steps (-1) must be at least 0."
    both = "--pretrain.optimizer.warmup_steps or --finetune.optimizer.warmup_steps (-1) must be at least 0."
    assert as_flags(sentence, parser, ["--config", "my.yaml"]) == both


def test_what_is_no_flag_or_one_already_stays(parser):
    for sentence in (
        "the items have no content; switch it off with --cold_start.content_fusion false.",
        "runs/tower.dim/my.yaml has no 'tower.dim'; see docs/tower.dim.",
        "x was trained with use_tower: false, at its own seed, device and precision.",
        "the tower does not fit this config (the widths differ); take another seed (3).",
        "item_table.rows.more and my_item_table.rows are nobody's.",
    ):
        assert as_flags(sentence, parser, []) == sentence


@pytest.mark.parametrize("value", ["64,32", "[64, 32]", "[64,32]", "64, 32"])
def test_a_list_of_numbers_needs_no_brackets(parser, value):
    for words in (["--ranker.over_hidden", value], [f"--ranker.over_hidden={value}"]):
        args = parser.parse_args(with_brackets(["--seed", "5", *words, "--max_history", "7"], parser))
        assert list(args.ranker.over_hidden) == [64, 32]
        assert (args.seed, args.max_history) == (5, 7)
    assert list(parser.parse_args(with_brackets(["--ranker.over_hidden", "8"], parser)).ranker.over_hidden) == [8]


@pytest.mark.parametrize("words", [["0.1,0.2"], ["[0.1, 0.2]"], ["0.1", "0.2"]])
def test_learning_rates_and_forms_need_no_brackets_either(monkeypatch, tmp_path, words):
    seen = {}

    class StoppedError(Exception):
        pass

    def stop(**settings):
        seen.update(settings)
        raise StoppedError

    monkeypatch.setattr(interactions, "Comparison", stop)
    monkeypatch.setattr(interactions, "require_splits", lambda data: None)
    monkeypatch.setattr(interactions, "require_finetuning", lambda config, place: None)
    flags = ["--learning-rates", *words, "--forms", "dot,gdcn", "{stacked: [gdcn, dot]}"]
    with pytest.raises(StoppedError):
        run_verb(interactions, "interactions", ["--data", str(tmp_path), "--out", str(tmp_path / "out"), *flags])
    assert seen["learning_rates"] == (0.1, 0.2)
    assert list(seen["forms"]) == ["dot", "gdcn", "{stacked: [gdcn, dot]}"]


def test_what_is_no_number_is_told(tmp_path):
    flags = ["--data", str(tmp_path), "--out", str(tmp_path / "out"), "--learning-rates", "0.1,fast"]
    with pytest.raises(UserError, match=r"'0\.1,fast' is no list of numbers; write such as 0\.001,0\.003"):
        run_verb(interactions, "interactions", flags)
    assert number_list(0.5) == [0.5]
