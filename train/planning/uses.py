"""How many ids a step of each phase looks up in every sub-table: what the planner has to know of a run.

Every event, candidate, drawn negative and request counts as another id. Without a dataset nothing is known of the
number of candidates, nor of the catalogue that pretraining may compare with.
"""

from collections.abc import Mapping

from pinfm.embeddings.sharded.plan import TableUse
from pinfm.embeddings.specs import IdTable
from pinfm.train.build import Tables
from pinfm.train.config import PretrainConfig, RunConfig
from pinfm.train.data.info import DatasetInfo


def pretrain_uses(config: RunConfig, tables: Tables, world_size: int, info: DatasetInfo | None) -> dict[str, TableUse]:
    """Sub-table -> its use in a step of pretraining.

    Args:
        config: of the run.
        tables: whose sub-tables.
        world_size: ranks that share a batch.
        info: of the dataset, where there is one.
    """
    phase = config.pretrain
    events = phase.batch_size / world_size * phase.segment_length
    return _uses(config, tables, events + _negatives(phase, world_size, info), {})


def finetune_uses(config: RunConfig, tables: Tables, world_size: int, info: DatasetInfo | None) -> dict[str, TableUse]:
    """Sub-table -> its use in a step of fine-tuning; see `pretrain_uses`."""
    requests = config.finetune.batch_size / world_size
    candidates = requests * _candidates_per_request(info)
    of_candidates = {feature.name for feature in info.schema.of("categorical", "candidate")} if info else set()
    ids = {table.name: candidates if table.name in of_candidates else requests for table in tables.features}
    return _uses(config, tables, requests * config.max_history + candidates, ids)


def _uses(config: RunConfig, tables: Tables, items: float, features: Mapping[str, float]) -> dict[str, TableUse]:
    def each(table: IdTable, use: TableUse) -> dict[str, TableUse]:
        return dict.fromkeys(table.sub_tables(), use)

    uses = each(tables.item, TableUse(ids_per_step=items, sharding=config.item_table.sharding))
    for table in tables.features:
        uses |= each(table, TableUse(ids_per_step=features[table.name]))
    return uses


def _negatives(phase: PretrainConfig, world_size: int, info: DatasetInfo | None) -> float:
    """Items that a rank compares with beside those of its events; every rank looks up the whole catalogue."""
    if phase.negatives == "sampled":
        return phase.num_sampled / world_size
    return info.counts.items if phase.negatives == "catalogue" and info else 0.0


def _candidates_per_request(info: DatasetInfo | None) -> float:
    """The mean of the training split."""
    requests = info.counts.requests.get("train", 0) if info else 0
    return info.counts.impressions["train"] / requests if info and requests else 0.0
