"""The sub-tables of a model that stands on the meta device, and what they weigh."""

from torch import Tensor, nn

from pinfm.embeddings.sharded.versions import require_tested_versions

require_tested_versions()

from torchrec.modules.embedding_modules import EmbeddingCollection  # noqa: E402
from torchrec.optim.rowwise_adagrad import RowWiseAdagrad  # noqa: E402

# Adagrad's sums are float32, whatever the rows are.
OPTIMIZER_BYTES = 4


def collections_of(model: nn.Module) -> list[EmbeddingCollection]:
    """Wherever they stand in the model."""
    return [module for module in model.modules() if isinstance(module, EmbeddingCollection)]


def sub_tables(model: nn.Module) -> dict[str, Tensor]:
    """Name -> weights."""
    return {
        config.name: weight
        for module in collections_of(model)
        for config, weight in zip(module.embedding_configs(), module.parameters(), strict=True)
    }


def table_bytes(model: nn.Module) -> dict[str, tuple[int, int]]:
    """Sub-table -> bytes of its weights and of its optimizer's state."""
    return {
        name: (weight.numel() * weight.element_size(), optimizer_values(weight, *weight.shape) * OPTIMIZER_BYTES)
        for name, weight in sub_tables(model).items()
    }


def optimizer_values(weight: Tensor, rows: int, columns: int) -> int:
    """How many sums of squares, each a float32, fused Adagrad keeps for a shard.

    Args:
        weight: the sub-table.
        rows: of the shard.
        columns: of the shard.
    """
    return rows * (1 if one_sum_a_row(weight) else columns)


def one_sum_a_row(weight: Tensor) -> bool:
    """Whether its fused optimizer is row-wise."""
    return RowWiseAdagrad in getattr(weight, "_optimizer_classes", [])
