"""Whether the dense part of a run can be built, and has room to learn in, before any of it is in memory."""

import torch

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.sharded.hardware import GIB, machine_gib
from pinfm.embeddings.specs import IdTable
from pinfm.model.ranking.joint import build_model
from pinfm.model.schema import InputSchema
from pinfm.train.config import RunConfig

# In float32: a weight, its gradient, and the two moments of AdamW.
BYTES_OF_A_WEIGHT = 16


def require_dense_part(config: RunConfig, schema: InputSchema, items: IdTable, device: torch.device) -> None:
    """Builds the dense part without its numbers, and weighs it.

    Args:
        config: of the run.
        schema: the dataset's inputs and tasks.
        items: the item id tables.
        device: that is to hold it.

    Raises:
        UserError: its parts do not fit each other or the dataset, or it has no room to be trained.
    """
    item_dim = items.num_hashes * items.dim
    # The first weight on the meta device imports hundreds of modules: seconds, which a single run can do without.
    with torch.device("meta"):
        model = build_model(config.model(), schema, item_dim, config.feature_tables.dim)
    weights = sum(weight.numel() for weight in model.parameters())
    on_gpu = device.type == "cuda"
    room = torch.cuda.get_device_properties(device).total_memory / GIB if on_gpu else machine_gib()
    needed = weights * BYTES_OF_A_WEIGHT / GIB
    if needed > room:
        raise UserError(
            f"the dense part has {weights:,} weights, which take {needed:,.1f} GiB to train, and this machine has "
            f"{room:.1f}; lower what is widest among ranker.interaction, ranker.over_hidden and tower.dim."
        )
