r"""What the adaptation of event vectors costs beside the same losses as training computes them.

    ./run python -m benchmarks.adaptation_speed --write

A step of either is one pass there and back through L_ntl, L_mtl and L_ftl of histories of 256 events. The training
losses give gradients of all weights and of the item vectors; once they compare with the other events of the batch, as
pretraining does, and once with as few items as the adaptation. The adaptation is the frozen TorchScript, in steps of
its own and with what it prepares before them. All take turns. Random weights cost what trained ones cost.
"""

import argparse
import statistics
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchrec.sparse.jagged_tensor import JaggedTensor, KeyedJaggedTensor
from tqdm import tqdm

from benchmarks.parts.speed.meter import Meter
from benchmarks.parts.speed.performance import add_output_flags, put_out
from pinfm.embeddings.specs import IdTable
from pinfm.model.adaptation.config import VectorAdaptationConfig
from pinfm.model.adaptation.reference import Reference, make_reference
from pinfm.model.adaptation.vectors import VectorAdaptation
from pinfm.model.config import ModelConfig, TowerConfig
from pinfm.model.encoder import SequenceEncoder, build_encoder
from pinfm.model.inputs import History
from pinfm.model.schema import InputSchema
from pinfm.train.config import PretrainConfig
from pinfm.train.distributed import process_group
from pinfm.train.ids.maps import NONE_FRESH
from pinfm.train.loader.batches import SegmentBatch
from pinfm.train.objectives.pretrain import PretrainObjective

SCHEMA = InputSchema(
    actions=("click", "hide"), positive_actions=("click",), surfaces=("home",), tasks=("click",), features=()
)
EVENTS, CATALOGUE, REFERENCE_ITEMS, STEPS = 256, 100_000, 512, 3
TOWERS = {
    "1 layer of 64": (TowerConfig(num_layers=1, dim=64, num_heads=2, out_dim=64, dropout=0.0), 64),
    "6 layers of 256": (TowerConfig(num_layers=6, dim=256, num_heads=8, out_dim=256, dropout=0.0), 256),
}
# Users at a time; a training step of 64 would take many seconds on two cores with the wider tower.
USERS = {"1 layer of 64": [1, 16, 64], "6 layers of 256": [1, 16]}
Work = Callable[[], object]


def main() -> None:
    """Measures, prints the table and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=15, help="turns of each")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    rows = []
    every = [(name, users) for name, batches in USERS.items() for users in batches]
    with process_group(torch.device("cpu")):
        for tower, users in tqdm(every, unit="batch", disable=None):
            rows.append({"tower": tower, "users": users, **measure(tower, users, args.repeats)})
    put_out(args, "adaptation speed", {"rows": rows})


def measure(tower: str, users: int, repeats: int) -> dict[str, Any]:
    """The row of one tower and batch: medians in ms of a step, and how many times faster the adaptation's is.

    Args:
        tower: key of TOWERS.
        users: with a history each.
        repeats: turns.
    """
    torch.manual_seed(0)
    settings, item_dim = TOWERS[tower]
    encoder = build_encoder(ModelConfig(tower=settings), SCHEMA, item_dim).eval()
    history = random_histories(users)
    item_VE = torch.randn(CATALOGUE, item_dim) / 8
    reference = make_reference(encoder, history, item_VE[history.item_id], SCHEMA.positive_codes(), REFERENCE_ITEMS)
    works = {
        "training": training_step(encoder, history, item_VE, None),
        "training_same_items": training_step(encoder, history, item_VE, reference),
        **adaptation_steps(encoder, history, item_VE, reference),
    }
    times = {name: [] for name in works}
    meter = Meter("cpu")
    for turn in range(repeats + 3):  # TorchScript optimises in its first calls
        for name, work in works.items():
            start = meter.now()
            work()
            if turn >= 3:
                times[name].append(1e3 * (meter.now() - start))
    medians = {name: statistics.median(values) for name, values in times.items()}
    step = medians["adaptation"] / STEPS
    return {
        **{f"{name}_ms": value for name, value in medians.items() if name.startswith("training")},
        "adaptation_step_ms": step,
        "newest_64_step_ms": medians["newest"] / STEPS,
        "times_faster": medians["training"] / step,
        "times_faster_same_items": medians["training_same_items"] / step,
        "times_faster_newest_64": medians["training_same_items"] / (medians["newest"] / STEPS),
    }


def random_histories(users: int) -> History:
    """Histories of EVENTS events each."""
    count = users * EVENTS
    return History(
        torch.full([users], EVENTS),
        torch.randint(0, CATALOGUE, (count,)),
        torch.randint(1, 3, (count,)),
        torch.ones(count, dtype=torch.int64),
        torch.randint(0, 10**6, (users, EVENTS)).sort(dim=1).values.flatten(),
    )


def training_step(encoder: SequenceEncoder, history: History, item_VE: Tensor, reference: Reference | None) -> Work:
    """L_ntl, L_mtl and L_ftl with the gradients of all weights and of the item vectors.

    Args:
        encoder: the tower.
        history: the events.
        item_VE: vectors of the catalogue.
        reference: items to compare with; None for the events of the batch.
    """
    config = PretrainConfig(
        segment_length=EVENTS, future_anchor_length=EVENTS - 8, negatives="sampled" if reference else "in_batch"
    )
    objective = PretrainObjective(encoder, IdTable(name="item", num_hashes=1, rows=4, dim=item_VE.size(1)), config)
    ids_V = history.item_id if reference is None else torch.cat([history.item_id, reference.item_id])
    ids_V = torch.unique(ids_V)
    drawn_V = torch.zeros_like(ids_V)
    if reference is not None:
        drawn_V = torch.isin(ids_V, reference.item_id).long()
    no_events = torch.zeros_like(history.item_id, dtype=torch.bool)
    batch = SegmentBatch(
        history=history,
        user=torch.arange(len(history.lengths)),
        positive=history.action == 1,
        ahead=torch.randint(1, config.window + 1, (len(history.item_id), config.pairs_per_anchor)),
        hidden=no_events,
        half=no_events,
        unmet=torch.zeros(len(history.item_id), 0, dtype=torch.int64),
        item_ids=ids_V,
        item_index=torch.searchsorted(ids_V, history.item_id),
        drawn=drawn_V,
        drawn_items=torch.nonzero(drawn_V)[:, 0],
        log_share=torch.zeros(len(ids_V)),
        item_rows=KeyedJaggedTensor.empty(),
        fresh=NONE_FRESH,
    )

    def step() -> None:
        vectors_VE = item_VE[ids_V].requires_grad_()
        lengths_V = torch.ones_like(ids_V)
        encoder.zero_grad()
        objective(batch, {"item_0": JaggedTensor(vectors_VE, lengths=lengths_V)})[0].backward()
        assert vectors_VE.grad is not None

    return step


def adaptation_steps(
    encoder: SequenceEncoder, history: History, item_VE: Tensor, reference: Reference
) -> dict[str, Work]:
    """STEPS steps of the adaptation, as it is served, of whole histories and of their newest events."""
    item_TE = item_VE[history.item_id]
    works: dict[str, Work] = {}
    for name, newest in (("adaptation", EVENTS), ("newest", 64)):
        module = VectorAdaptation(encoder, reference, VectorAdaptationConfig(steps=STEPS, newest_events=newest)).eval()
        served = torch.jit.freeze(torch.jit.script(module))
        works[name] = lambda served=served: served(history, item_TE)
    return works


if __name__ == "__main__":
    main()
