"""What nobody can beat in a simulated world: its items ranked by the very chance that each is clicked with."""

from typing import Any

import numpy as np

from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.sources.simulate import Simulate
from pinfm.train.data.sources.simulated.world import Shown
from pinfm.train.metrics import item_age_seconds, ranking_metrics


def click_ceiling(source: Simulate, dataset: PreparedDataset, split: str) -> dict[str, Any]:
    """The metrics of the true chance of a click, as `pinfm evaluate` reports those of a model.

    Args:
        source: what the dataset was prepared from.
        dataset: has the splits.
        split: judged.
    """
    world = source.world()
    blocks = [world.block(block) for block in range(world.num_blocks)]
    shown = Shown(*(np.concatenate(column) for column in zip(*blocks, strict=True)))

    def within(name: str) -> Shown:
        begin, end = dataset.info.splits[name]
        within_N = (shown.timestamp_N >= begin) & (shown.timestamp_N < end)
        return Shown(*(column[within_N] for column in shown))

    asked = within(split)
    report = ranking_metrics(
        {"click": asked.chance_N},
        {"click": asked.click_N},
        asked.user_N,
        np.unique(asked.request_N, return_inverse=True)[1],
        item_age_seconds(asked.timestamp_N, world.items.created_I[asked.item_N]),
        ~np.isin(asked.item_N, within("train").item_N),
    )
    return report["click"]
