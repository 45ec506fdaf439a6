"""A run's settings: what is refused, what the recipes say, and the file that comes back as the same config."""

from dataclasses import replace

import pytest
import runs
import yaml
from jsonargparse import ArgumentParser

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.specs import FeatureTableConfig, ItemTableConfig
from pinfm.model.config import ColdStartConfig, TowerConfig
from pinfm.model.stored.run_folder import RunFolder
from pinfm.train.cli.run_flags import add_run_flags, config_from_manifest, run_config
from pinfm.train.config import FinetuneConfig, OptimizerConfig, PretrainConfig, RunConfig
from pinfm.train.data.info import DatasetInfo
from pinfm.train.recipes import recipe_names, recipe_path


def parsed(*flags):
    parser = ArgumentParser(exit_on_error=False)
    add_run_flags(parser)
    return run_config(parser.instantiate(parser.parse_args([*map(str, flags), "--data", "d", "--out", "o"])))


@pytest.fixture
def kept(dataset):
    """What a run on the dataset keeps of its config."""
    return runs.CONFIG.with_item_ages(DatasetInfo.read(dataset).item_age_thresholds)


def test_the_config_of_a_run_is_read_back(finetuned, kept):
    assert parsed("--config", finetuned / "config.yaml") == kept
    assert config_from_manifest(RunFolder.open(finetuned).manifest["config"]) == kept


def test_a_run_of_another_version_is_refused(finetuned):
    values = RunFolder.open(finetuned).manifest["config"]
    values["pretrain"]["of_the_future"] = 1
    with pytest.raises(UserError, match=r"the run's settings are not those of this version \(.*of_the_future"):
        config_from_manifest(values)


def test_flags_override_the_file(finetuned, kept):
    config = parsed("--config", finetuned / "config.yaml", "--tower.num_layers", 3, "--ranker.over_hidden", "[8, 4]")
    assert config == replace(
        kept,
        tower=replace(runs.CONFIG.tower, num_layers=3),
        ranker=replace(runs.CONFIG.ranker, over_hidden=(8, 4)),
    )


def test_without_a_file_the_defaults_hold():
    assert parsed() == RunConfig()


@pytest.mark.parametrize("name", recipe_names())
def test_every_recipe_says_what_it_means(name):
    config, written = parsed("--config", name), yaml.safe_load(recipe_path(name).read_text())

    def check(value, said):
        for key, part in said.items():
            if isinstance(part, dict):
                check(getattr(value, key), part)
            else:
                found = getattr(value, key)
                assert (list(found) if isinstance(found, tuple) else found) == part

    check(config, written)
    assert config != RunConfig()


@pytest.mark.parametrize(
    ("build", "sentence"),
    [
        (lambda: RunConfig(max_history=0), r"max_history \(0\) must be at least 1"),
        (lambda: RunConfig(data_streams=0), r"data_streams \(0\) must be at least 1"),
        (lambda: RunConfig(log_steps=0), r"log_steps \(0\) must be at least 1"),
        (lambda: RunConfig(checkpoint_steps=-1), r"checkpoint_steps \(-1\) must be at least 1"),
        (lambda: RunConfig(data_streams=7), r"batch_size \(128\) must be a multiple of data_streams \(7\)"),
        (
            lambda: RunConfig(tower=TowerConfig(heads="tied"), item_table=ItemTableConfig(num_hashes=2, dim=16)),
            r"^tower\.heads tied .* item_table\.num_hashes \* item_table\.dim \(32\) must be tower\.dim \(64\)\.$",
        ),
        (lambda: RunConfig(finetune=FinetuneConfig(batch_size=0)), r"finetune.batch_size \(0\) must be a multiple"),
        (lambda: PretrainConfig(future_anchor_length=64), r"pretrain.future_anchor_length \(64\) must lie between"),
        (
            lambda: replace(runs.CONFIG, item_table=replace(runs.CONFIG.item_table, dim=6)),
            r"item_table.dim \(6\) must be a multiple of 4",
        ),
        (
            lambda: replace(runs.CONFIG, feature_tables=replace(runs.CONFIG.feature_tables, dim=4)),
            r"feature_tables.dim / num_hashes \(2\) must be a multiple of 4",
        ),
        (
            lambda: replace(
                runs.CONFIG,
                tower=replace(runs.CONFIG.tower, fusion="lite_mean"),
                cold_start=replace(runs.CONFIG.cold_start, learnable_token=True),
            ),
            "which has no candidate token",
        ),
        (lambda: RunConfig(seed=-1), r"^seed \(-1\) must be at least 0\.$"),
        (lambda: PretrainConfig(window=0), r"^pretrain\.window \(0\) must be at least 1\.$"),
        (lambda: PretrainConfig(pairs_per_anchor=0), r"^pretrain\.pairs_per_anchor \(0\) must be at least 1\.$"),
        (lambda: PretrainConfig(epochs=0), r"^pretrain\.epochs \(0\) must be at least 1\.$"),
        (lambda: PretrainConfig(next_token_weight=-1.0), r"^pretrain\.next_token_weight \(-1\.0\) must be at least 0"),
        (
            lambda: PretrainConfig(next_token_weight=0.0, multi_token_weight=0.0, future_token_weight=0.0),
            r"pretrain's four losses that name items all have weight 0; give next_token_weight, .* a weight, such as 1",
        ),
        (
            lambda: PretrainConfig(
                next_token_weight=0.0, multi_token_weight=0.0, future_token_weight=0.0, contrastive_weight=1.0
            ),
            "pretrain's four losses that name items all have weight 0",
        ),
        (
            lambda: PretrainConfig(masked_event_weight=-1.0),
            r"^pretrain\.masked_event_weight \(-1\.0\) must be at least 0",
        ),
        (
            lambda: PretrainConfig(masked_event_weight=1.0, masked_events=1.0),
            r"^pretrain\.masked_events \(1\.0\) must lie between 0 and 1, both excluded\.$",
        ),
        (
            lambda: PretrainConfig(masked_events=0.5),
            r"^pretrain\.masked_events \(0\.5\) is not read while pretrain\.masked_event_weight is 0; give that",
        ),
        (
            lambda: PretrainConfig(contrastive_temperature=0.5),
            r"^pretrain\.contrastive_temperature \(0\.5\) is not read while pretrain\.contrastive_weight is 0; ",
        ),
        (
            lambda: PretrainConfig(contrastive_weight=1.0, contrastive_temperature=0.0),
            r"^pretrain\.contrastive_temperature \(0\.0\) must be at least 0\.01\.$",
        ),
        (
            lambda: FinetuneConfig(adversarial_radius=-0.1),
            r"^finetune\.adversarial_radius \(-0\.1\) must be at least 0\.$",
        ),
        (
            lambda: PretrainConfig(unmet_items=2),
            r"^pretrain\.unmet_items \(2\) is not read while pretrain\.next_action_weight is 0; give that",
        ),
        (
            lambda: FinetuneConfig(request_share=0.0),
            r"^finetune\.request_share \(0\.0\) must lie above 0, and be at most 1\.$",
        ),
        (
            lambda: RunConfig(tower=TowerConfig(fusion="lite_mean"), pretrain=PretrainConfig(next_action_weight=1.0)),
            r"^pretrain\.next_action_weight \(1\.0\) trains how candidates meet the history, but with tower\.fusion "
            r"lite_mean they do not; set it to 0, or the fusion to early\.$",
        ),
        (
            lambda: RunConfig(use_tower=False, finetune=FinetuneConfig(adversarial_radius=0.1)),
            r"^finetune\.adversarial_radius \(0\.1\) moves the events that the tower reads, but use_tower is false; ",
        ),
        (lambda: PretrainConfig(log_q=True, negatives="catalogue"), "negatives is 'catalogue'; switch log_q off"),
        (lambda: FinetuneConfig(epochs=-1), r"^finetune\.epochs \(-1\) must be at least 1\.$"),
        (lambda: FinetuneConfig(requests_per_user=0), r"^finetune\.requests_per_user \(0\) must be at least 1\.$"),
        (lambda: FinetuneConfig(agreement_weight=float("nan")), r"agreement_weight \(nan\) must be a finite number"),
        (lambda: OptimizerConfig(dense_lr=-1.0), r"^optimizer\.dense_lr \(-1\.0\) must be above 0\.$"),
        (lambda: OptimizerConfig(table_lr=0.0), r"^optimizer\.table_lr \(0\.0\) must be above 0\.$"),
        (lambda: OptimizerConfig(warmup_steps=-3), r"^optimizer\.warmup_steps \(-3\) must be at least 0\.$"),
        (lambda: ColdStartConfig(alignment_weight=-3.0), r"^cold_start\.alignment_weight \(-3\.0\) must be"),
        (lambda: FeatureTableConfig(rows_per_value=-5.0), r"^feature_tables\.rows_per_value \(-5\.0\) must be above 0"),
        (
            lambda: replace(runs.CONFIG, pretrain=PretrainConfig(batch_size=16, negatives="sampled", num_sampled=6)),
            r"pretrain\.num_sampled \(6\) must be a multiple of data_streams \(4\)",
        ),
        (lambda: recipe_path("atlantis"), "neither a file nor a shipped recipe; the recipes are .*kuairand"),
    ],
)
def test_a_setting_that_does_not_work_is_one_sentence(build, sentence):
    with pytest.raises(UserError, match=sentence):
        build()
