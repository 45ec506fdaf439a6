"""The table, and the config that is written: it says why, and reads back as what was chosen."""

from dataclasses import replace

import yaml
from jsonargparse import ArgumentParser

from pinfm.train.auto.choices import Choice, settings_of
from pinfm.train.auto.written import choices_table, write_config
from pinfm.train.cli.run_flags import run_config
from pinfm.train.config import RunConfig

CHOICES = (
    Choice(setting="tower.dim", value=96, why="a width"),
    Choice(setting="ranker.over_hidden", value=(32, 16), why="auto would take (64,): narrow", yours=True),
    Choice(setting="finetune.epochs", value=2, why="word " * 60),
)
CONFIG = RunConfig()
CONFIG = replace(
    CONFIG,
    tower=replace(CONFIG.tower, dim=96),
    ranker=replace(CONFIG.ranker, over_hidden=(32, 16), interaction={"stacked": ["gdcn", {"form": "dcn_v2"}]}),
    cold_start=replace(CONFIG.cold_start, item_age_thresholds=("1h", "4h")),
)


def test_the_table_has_a_line_a_setting():
    lines = choices_table(CHOICES).splitlines()
    assert lines[0].split() == ["setting", "value", "why"]
    assert lines[1].split(maxsplit=2) == ["tower.dim", "96", "a width"]
    assert lines[2].split("  ")[1].strip() == "[32, 16] (yours)"
    assert all(len(line) <= 120 for line in lines)
    assert " ".join(lines[3:]).split().count("word") == 60


def test_the_file_has_every_setting_and_the_reasons(tmp_path):
    write_config(tmp_path / "new" / "auto.yaml", CONFIG, CHOICES, "A heading.")
    text = (tmp_path / "new" / "auto.yaml").read_text()
    assert text.startswith("# A heading.\nseed: 0\n")
    assert "  # a width\n  dim: 96\n" in text
    assert "  # Yours; auto would take (64,): narrow\n  over_hidden: [32, 16]\n" in text
    assert all(len(line) <= 120 for line in text.splitlines())
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(RunConfig)
    assert run_config(parser.instantiate(parser.parse_object(yaml.safe_load(text)))) == CONFIG


def test_settings_are_named_by_their_place():
    settings = settings_of(CONFIG)
    assert settings["ranker.interaction"] == {"stacked": ["gdcn", {"form": "dcn_v2"}]}
    assert settings["pretrain.optimizer.dense_lr"] == 1e-3
    assert len(settings) > 90
