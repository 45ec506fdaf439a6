"""What the planner is told of a step: events, candidates, negatives and requests, by sub-table and rank."""

from dataclasses import replace

import pytest
import runs

from pinfm.train.build import finetune_tables, pretrain_tables
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.planning.uses import finetune_uses, pretrain_uses

CONFIG, RANKS = runs.CONFIG, 2
EVENTS = 16 / RANKS * 8  # segments of a rank by their length


@pytest.fixture
def info(dataset):
    return PreparedDataset.open(dataset).info


@pytest.mark.parametrize(("negatives", "more"), [("in_batch", 0), ("sampled", 100 / RANKS), ("catalogue", "items")])
def test_pretraining_looks_up_events_and_negatives(info, negatives, more):
    phase = replace(CONFIG.pretrain, negatives=negatives, log_q=False, num_sampled=100, batch_size=16)
    config = replace(CONFIG, pretrain=phase, max_history=5)
    uses = pretrain_uses(config, pretrain_tables(config), RANKS, info)
    assert set(uses) == {"item_0", "item_1"}
    assert uses["item_0"].ids_per_step == EVENTS + (info.counts.items if more == "items" else more)


def test_fine_tuning_looks_up_events_candidates_and_their_features(info):
    config = replace(CONFIG, finetune=replace(CONFIG.finetune, batch_size=16), max_history=5)
    tables = finetune_tables(config, info.schema, info.counts.users)
    uses = finetune_uses(config, tables, RANKS, info)
    requests = 16 / RANKS
    candidates = requests * info.counts.impressions["train"] / info.counts.requests["train"]
    assert uses["item_1"].ids_per_step == requests * 5 + candidates
    for scope, ids in (("request", requests), ("candidate", candidates)):
        for feature in info.schema.of("categorical", scope):
            assert uses[f"{feature.name}_0"].ids_per_step == ids
    assert uses["user_id_0"].ids_per_step == requests


def test_without_a_dataset_the_config_alone_counts():
    uses = finetune_uses(CONFIG, pretrain_tables(CONFIG), 1, None)
    assert uses["item_0"].ids_per_step == CONFIG.finetune.batch_size * CONFIG.max_history
