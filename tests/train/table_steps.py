"""One step of sharded tables at the ranks of a process group, for test_table_steps.py.

Usage, under torchrun: table_steps.py FOLDER; writes FOLDER/rows-RANK.pt.
"""

import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import runs
import torch
import torch.distributed as dist
from torch import nn

from pinfm.embeddings.managed import ManagedIds
from pinfm.embeddings.sharded.collections import RowFinder, concatenate_sub_tables, embedding_collection
from pinfm.embeddings.sharded.plan import TableUse
from pinfm.embeddings.specs import IdTable, ManagedIdsConfig
from pinfm.train.build import META, shard
from pinfm.train.distributed import process_group

ROWS, DIM, RATE = 6, 4, 0.5
CPU = torch.device("cpu")
# Small, so that the eps beside the root of Adagrad's sum counts for as much as the root.
GRADIENT = 1e-8
CASES = {
    "rowwise_adagrad": ("rowwise_adagrad", "row_wise"),
    "rowwise_adagrad, table_wise": ("rowwise_adagrad", "table_wise"),
    "adagrad": ("adagrad", "row_wise"),
}


class Lookup(nn.Module):
    """Item tables and nothing else."""

    def __init__(self, table):
        super().__init__()
        self.table = table
        self.item_tables = embedding_collection([table], META)

    def forward(self, rows):
        """The vectors of these rows."""
        return concatenate_sub_tables(self.item_tables(rows), self.table)


def one_step(optimizer, sharding):
    """The whole table before and after a step in which every rank looks up an id that has row 1."""
    table = IdTable(name="item", num_hashes=1, rows=ROWS, dim=DIM, ids="managed")
    config = replace(runs.CONFIG, item_table=replace(runs.CONFIG.item_table, optimizer=optimizer))
    # The decay is the dense weights' own.
    rates = replace(runs.OPTIMIZER, table_lr=RATE, weight_decay=0.5)
    model = shard(Lookup(table), config, rates, {"item_0": TableUse(sharding=sharding)}, CPU)
    before = whole(model)
    finder = RowFinder([table], {"item": SimpleNamespace(rows=torch.ones_like)})
    vectors = model(finder({"item": (torch.tensor([7]), torch.tensor([1]))}))
    gradient = GRADIENT * torch.tensor([1.0, 2.0, 3.0, 4.0])
    # The mean over ranks of losses is trained on, and each has the same.
    (vectors * gradient).sum().backward()
    return before, whole(model)


def whole(model):
    """The table of all ranks."""
    rows = torch.zeros(ROWS, DIM)
    for part in model.state_dict()["item_tables.embeddings.item_0.weight"].local_shards():
        first = part.metadata.shard_offsets[0]
        rows[first : first + len(part.tensor)] = part.tensor
    dist.all_reduce(rows)
    return rows


def refusals():
    """What is said of rows below and above a table, by every rank alike."""
    table = IdTable(name="item", num_hashes=2, rows=ROWS, dim=DIM, ids="managed")
    larger = ManagedIds(ROWS + 3, ManagedIdsConfig(min_count=1, update_steps=1))
    said = []
    for rows in (larger.rows, lambda ids: torch.full_like(ids, -1)):
        finder = RowFinder([table], {"item": SimpleNamespace(rows=rows)})
        try:
            finder({"item": (torch.tensor([7, 8]), torch.tensor([2]))})
        except IndexError as error:
            said.append(str(error))
    return said


def results():
    """Of every case."""
    steps = {name: one_step(*case) for name, case in CASES.items()}
    return {"steps": steps, "refused": refusals()}


if __name__ == "__main__":
    with process_group(CPU):
        torch.save(results(), Path(sys.argv[1]) / f"rows-{dist.get_rank()}.pt")
