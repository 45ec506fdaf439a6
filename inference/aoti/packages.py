"""Scores by compiled packages: the scoring module checks and looks up, `Pieces` cuts, the packages compute."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Packages:
    """The dense model of a scoring module, compiled ahead of time.

    Args:
        module: the scoring module.
        pieces: `Pieces`, scripted or not.
        stages: `rank`, and of a model with a tower `encode` and `cross`.
    """

    module: torch.jit.ScriptModule
    pieces: Callable[[dict[str, Tensor]], list[dict[str, list[Tensor]]]]
    stages: Mapping[str, Callable[..., Tensor]]

    @torch.no_grad()
    def __call__(self, inputs: dict[str, Tensor]) -> dict[str, Tensor]:
        """What the scoring module gives for the same inputs, see `ScoringModule.forward`; raises as it does."""
        looked_up = self.module.looked_up(inputs)
        tasks: list[str] = self.module.tasks
        scores_NK = torch.zeros(looked_up["item"].size(0), len(tasks))
        kept = torch.empty(0)
        for piece in self.pieces(looked_up):
            slots_M, rows_M = piece["places"]
            tower_MO = torch.zeros(slots_M.size(0), 0)
            if piece.get("encode"):
                kept = self.stages["encode"](*piece["encode"])
            if piece["cross"]:
                tower_MO = self.stages["cross"](kept, *piece["cross"]).flatten(0, 1).index_select(0, slots_M)
            scores_NK.index_copy_(0, rows_M, self.stages["rank"](tower_MO, *piece["rank"]))
        return {task: scores_NK[:, i] for i, task in enumerate(tasks)}
