"""What a user may choose of an export."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from pinfm.embeddings.errors import UserError, require_at_least, require_types
from pinfm.embeddings.specs import ServedPrecision
from pinfm.model.adaptation.config import Adapt, TrustConfig, VectorAdaptationConfig
from pinfm.model.stored.run_folder import Named

DensePrecision = Literal["fp32", "bf16", "int8"]


@dataclass(frozen=True, kw_only=True)
class IndexOptions:
    """How an index is made.

    Args:
        items: the items table.
        attributes: columns of it that searches may filter by.
        kind: `exact`; `faiss`, lists of which a search looks into the nearest; `auto` takes these from 2M items on.
    """

    items: Path
    attributes: tuple[str, ...] = ()
    kind: Literal["auto", "exact", "faiss"] = "auto"

    def __post_init__(self) -> None:
        require_types("", self)
        names = set(self.attributes)
        if len(names) < len(self.attributes) or names & {"item_id", "created_at", "content"}:
            raise UserError(
                f"the index's attributes ({', '.join(self.attributes)}) must be columns, each named once, and none of "
                "item_id, created_at and content."
            )


@dataclass(frozen=True, kw_only=True)
class ExportOptions:
    """How a run is exported.

    Args:
        checkpoint: the run's best on validation, which is the newest where it had none, or the newest.
        precision: of the tables.
        dense_precision: `fp32` or `bf16` of everything else, or `int8` of the tower's layers and `fp32` of the rest.
        format: `torchscript`, or `torchscript,aoti` with compiled packages beside it.
        layout: `whole` puts the tables into the TorchScript file; `apart` into files of their own, which are mapped.
        max_auc_loss: what rounding to few bits, and what adaptation, may cost a task on the kept requests.
        adapt: what the artefact does about histories that somebody tampered with.
        vectors: settings of `adapt: vectors`.
        trust: settings of `adapt: trust`.
        index: the catalogue whose vectors are written beside the model; none where None.
    """

    checkpoint: Named = "best"
    precision: ServedPrecision = "fp32"
    dense_precision: DensePrecision = "fp32"
    format: Literal["torchscript", "torchscript,aoti"] = "torchscript"
    layout: Literal["whole", "apart"] = "whole"
    max_auc_loss: float = 0.002
    adapt: Adapt = "none"
    vectors: VectorAdaptationConfig = field(default_factory=VectorAdaptationConfig)
    trust: TrustConfig = field(default_factory=TrustConfig)
    index: IndexOptions | None = None

    def __post_init__(self) -> None:
        require_types("", self)
        require_at_least("", 0, max_auc_loss=self.max_auc_loss)
        for form, given in (
            ("vectors", self.vectors != VectorAdaptationConfig()),
            ("trust", self.trust != TrustConfig()),
        ):
            if given and self.adapt != form:
                raise UserError(
                    f"--{form} settings are given, but --adapt is {self.adapt}; give --adapt {form}, or none."
                )

        if self.compiles:
            for flag, value, wanted in (
                ("adapt", self.adapt, "none"),
                ("dense-precision", self.dense_precision, "fp32"),
            ):
                if value != wanted:
                    raise UserError(
                        f"--format aoti compiles a dense model in fp32 that adapts nothing, but --{flag} is {value}; "
                        f"give --{flag} {wanted}, or --format torchscript."
                    )
        if self.dense_precision == "int8" and self.adapt == "vectors":
            raise UserError(
                "--adapt vectors takes gradients, and layers in eight bits have none; give --dense-precision fp32, or "
                "--adapt trust."
            )

    @property
    def compiles(self) -> bool:
        """Whether the dense model is compiled too."""
        return "aoti" in self.format.split(",")

    def rounded(self) -> list[tuple[str, str]]:
        """What is rounded to few bits, as a reader is told of it, and the flag that says to how many."""
        parts = [
            (f"tables in {self.precision}", "--precision", self.precision != "fp32"),
            (f"dense layers in {self.dense_precision}", "--dense-precision", self.dense_precision == "int8"),
        ]
        return [(part, flag) for part, flag, chosen in parts if chosen]

    def adaptation(self) -> VectorAdaptationConfig | TrustConfig | None:
        """The settings of the form that is chosen."""
        return {"none": None, "vectors": self.vectors, "trust": self.trust}[self.adapt]
