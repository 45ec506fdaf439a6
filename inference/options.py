"""What a user may choose of an export."""

from dataclasses import dataclass
from typing import Literal

from pinfm.embeddings.errors import require_at_least, require_types
from pinfm.embeddings.specs import ServedPrecision


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a run is exported.

    Args:
        precision: of the tables.
        dense_precision: `fp32` or `bf16`, of everything else.
        layout: `whole` puts the tables into the TorchScript file; `apart` into files of their own, which are mapped.
        max_auc_loss: what rounded tables may cost a task on the kept requests.
    """

    precision: ServedPrecision = "fp32"
    dense_precision: Literal["fp32", "bf16"] = "fp32"
    layout: Literal["whole", "apart"] = "whole"
    max_auc_loss: float = 0.002

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least("", 0, max_auc_loss=self.max_auc_loss)
