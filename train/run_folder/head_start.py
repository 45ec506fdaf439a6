"""What pretraining has learnt of actions, as the beginning of what the tower says of tasks."""

from typing import Any

import torch
from torchrec.distributed.model_parallel import DistributedModelParallel

from pinfm.model.schema import InputSchema
from pinfm.model.stored.loading import load_values
from pinfm.model.stored.run_folder import RunFolder
from pinfm.model.stored.weights import readable
from pinfm.train.run_folder.checkpoint import unchanged

PRETRAINED, OURS = "objective.next_action.head.", "objective.model.tower_heads."


def load_head_start(model: DistributedModelParallel, run: RunFolder, schema: InputSchema) -> list[str]:
    """Copies the head of the next-action loss into the tower's heads: hidden layers, and the rows of equal names.

    Args:
        model: the sharded fine-tuning module, with a tower as wide as the pretrained one.
        run: the pretraining run, whose best checkpoint is read.
        schema: its actions and tasks.

    Returns:
        The tasks whose rows were copied; none where the run had no such loss.
    """
    if not run.manifest["config"]["pretrain"].get("next_action_weight"):
        return []
    state = model.state_dict()
    ours = {name.removeprefix(OURS): tensor for name, tensor in state.items() if name.startswith(OURS)}
    last = max(int(name.split(".")[0]) for name in ours)
    shapes = {
        name: [len(schema.actions), *tensor.shape[1:]] if name.startswith(f"{last}.") else list(tensor.shape)
        for name, tensor in ours.items()
    }
    values: dict[str, Any] = {"model": {f"{PRETRAINED}{name}": torch.zeros(shape) for name, shape in shapes.items()}}
    with readable(unchanged(run, "best")) as path:
        load_values(values, path)
    named = [task for task in schema.tasks if task in schema.actions]
    to = [schema.tasks.index(task) for task in named]
    start = [schema.actions.index(task) for task in named]
    for name, tensor in ours.items():
        theirs = values["model"][f"{PRETRAINED}{name}"].to(tensor.device)
        if name.startswith(f"{last}."):
            theirs = tensor.detach().clone().index_copy_(0, torch.tensor(to, device=tensor.device), theirs[start])
        state[f"{OURS}{name}"] = theirs
    model.load_state_dict(state)
    return named
