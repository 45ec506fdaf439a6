r"""What does retrieval cost, and what does an index in int8 or in lists lose?

    ./run python -m benchmarks.retrieval_index --parts exact,lists,one_encoding --write
    ./run python -m benchmarks.retrieval_index --parts quality --run runs/pretrain --data dataset --write

exact         a search of 100k and 1M items in int8, beside float32 with torch.topk: wall and CPU time of a request
lists         FAISS over 5M items: recall of the exact top 100, and the time of a request
one_encoding  500 of 100k items retrieved and ranked, 256 events, 6 layers of width 256: the history encoded once, and
              once for each of two calls, in turns
quality       HR@10 and NDCG@10 of a run's tower over its catalogue in float32, and through the index
"""

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from benchmarks.parts.speed.catalogues import clustered, exact_index, percentile, users_of
from benchmarks.parts.speed.performance import add_output_flags, put_out
from benchmarks.parts.speed.served_model import CONFIG, SCHEMA, random_request, random_tables, scoring_module
from pinfm.inference.export import save_module
from pinfm.inference.index.lists import build_lists, exact_rows, recall, require_faiss
from pinfm.model.tower import SequenceTower
from pinfm.train.data.dataset import PreparedDataset
from pinfm.train.data.ragged import scalar_column
from pinfm.train.evaluation.queries import Queries, rank_queries, split_queries
from pinfm.train.evaluation.retrieval import TowerScorer

WIDTH, TOP = 64, 100
Rows = list[dict[str, Any]]


def main() -> None:
    """Measures the parts that are asked for, prints a table each and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="exact,lists,one_encoding", help="of exact, lists, one_encoding, quality")
    parser.add_argument("--items", type=int, default=5_000_000, help="of the part lists")
    parser.add_argument("--requests", type=int, default=200, help="that a time is the median of")
    parser.add_argument("--run", type=Path, action="append", default=[], help="of the part quality; may be repeated")
    parser.add_argument("--data", type=Path, action="append", default=[], help="the dataset of each run")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    parts: dict[str, Callable[[], Rows]] = {
        "exact": lambda: [exact_row(items, args.requests) for items in (100_000, 1_000_000)],
        "lists": lambda: [lists_row(args.items, args.requests)],
        "one_encoding": lambda: [one_encoding_row(100_000, args.requests // 4)],
        "quality": lambda: [r for run, data in zip(args.run, args.data, strict=True) for r in quality_rows(run, data)],
    }
    with torch.no_grad():
        found = {name: parts[name]() for name in args.parts.split(",")}
    for name, rows in found.items():
        put_out(args, f"retrieval_{name}", {name: rows})


def times_of(call: Callable[[int], Any], requests: int) -> tuple[list[float], list[float]]:
    """Wall and process seconds of each call; some before them do not count."""
    wall, cpu = list[float](), list[float]()
    for i in range(-5, requests):
        start, used = time.perf_counter(), time.process_time()
        call(max(i, 0))
        if i >= 0:
            wall.append(time.perf_counter() - start)
            cpu.append(time.process_time() - used)
    return wall, cpu


def exact_row(items: int, requests: int) -> dict[str, Any]:
    """A search of all items, one user at a time."""
    vectors = clustered(items, WIDTH)
    users, index = users_of(vectors, requests), exact_index(vectors)
    none = torch.zeros(1, dtype=torch.int64)
    wall, cpu = times_of(lambda i: index(users[i : i + 1], none, none[:0], {}, TOP), requests)
    floats, of_floats = times_of(lambda i: torch.topk(vectors @ users[i], TOP), requests)
    found = torch.stack([index(user[None], none, none[:0], {}, TOP)[1] for user in users[:50]])
    exact = torch.from_numpy(exact_rows(vectors.numpy(), users[:50].numpy(), TOP))
    shares = [torch.isin(a, b).float().mean() for a, b in zip(exact, found, strict=True)]
    return {
        "items": items,
        "p50, ms": percentile(wall, 50),
        "p99, ms": percentile(wall, 99),
        "CPU, ms": percentile(cpu, 50),
        "float32: p50, ms": percentile(floats, 50),
        "float32: CPU, ms": percentile(of_floats, 50),
        "recall@100": float(np.mean(shares)),
    }


def lists_row(items: int, requests: int) -> dict[str, Any]:
    """FAISS's lists, as `pinfm index` makes them, asked by users that their making did not see."""
    vectors = clustered(items, WIDTH).numpy()
    start = time.process_time()
    lists, probes, chosen = build_lists(vectors)
    seconds = time.process_time() - start
    users = users_of(torch.from_numpy(vectors), requests, seed=7).numpy()
    parameters = require_faiss().SearchParametersIVF(nprobe=probes)
    wall, cpu = times_of(lambda i: lists.search(users[i : i + 1], TOP, params=parameters), requests)
    return {
        "items": items,
        "lists": lists.nlist,
        "looked into": probes,
        "recall@100, as made": chosen,
        "recall@100": recall(lists, users, exact_rows(vectors, users, TOP), probes),
        "p50, ms": percentile(wall, 50),
        "p99, ms": percentile(wall, 99),
        "CPU, ms": percentile(cpu, 50),
        "CPU p99, ms": percentile(cpu, 99),
        "to make, CPU s": seconds,
    }


def one_encoding_row(items: int, requests: int) -> dict[str, Any]:
    """Both stages with one encoding, and as two calls that each encode, in turns in one process."""
    with tempfile.TemporaryDirectory() as folder:
        save_module(
            scoring_module(CONFIG, SCHEMA, random_tables(SCHEMA, 100_000), 256, torch.float32), Path(folder) / "m"
        )
        module = torch.jit.load(Path(folder) / "m")
    ids = torch.empty(items, dtype=torch.int64).random_(-(2**63), None).sort().values
    index = exact_index(module.catalogue_vectors(ids), ids)
    inputs = [random_request(256, 500) for _ in range(8)]

    def retrieved(encoded: Any, asked: dict[str, Tensor]) -> dict[str, Tensor]:
        users, history = module.user_vectors(encoded, asked), encoded[0]
        lengths, found, _ = index(users, history[0], history[1], {}, 500)
        return {**asked, "candidate_lengths": lengths, "candidate_item_id": found}

    def once(i: int) -> None:
        encoded = module.encode(inputs[i % 8])
        module.score_encoded(encoded, retrieved(encoded, inputs[i % 8]))

    def twice(i: int) -> None:
        module(retrieved(module.encode(inputs[i % 8]), inputs[i % 8]))

    turns: dict[str, list[list[float]]] = {"once": [[], []], "twice": [[], []]}
    for i in range(requests):
        for name, call in (("once", once), ("twice", twice)):
            wall, cpu = times_of(lambda _, call=call, i=i: call(i), 1) if i == 0 else _one(call, i)
            turns[name][0] += wall
            turns[name][1] += cpu
    medians = {name: [percentile(seconds, 50) for seconds in times] for name, times in turns.items()}
    return {
        "items": items,
        "one encoding: p50, ms": medians["once"][0],
        "two calls: p50, ms": medians["twice"][0],
        "of two calls": medians["once"][0] / medians["twice"][0],
        "one encoding: CPU, ms": medians["once"][1],
        "two calls: CPU, ms": medians["twice"][1],
        "of their CPU": medians["once"][1] / medians["twice"][1],
    }


def _one(call: Callable[[int], Any], i: int) -> tuple[list[float], list[float]]:
    start, used = time.perf_counter(), time.process_time()
    call(i)
    return [time.perf_counter() - start], [time.process_time() - used]


class ThroughIndex(TowerScorer):
    """The ten items that the index finds; all others are worse than any."""

    @torch.no_grad()
    def __call__(self, queries: Queries) -> Tensor:
        """(B, V)."""
        events, first, target = queries
        begin = np.maximum(first, target - self._max_history)
        states = self._last_states(events, begin, target - begin)
        index = exact_index(self._z_VO, self.catalogue)
        items = events["item_id"]
        # As the metrics have it, an item that came again is an answer.
        seen = [items[a:b][items[a:b] != items[b]] for a, b in zip(first, target, strict=True)]
        counts = torch.tensor([len(ids) for ids in seen])
        lengths, ids, products = index(states, counts, torch.from_numpy(np.concatenate(seen)), {}, 10)
        scores = torch.full((len(states), len(self.catalogue)), -1e9)
        scores[torch.repeat_interleave(lengths), torch.searchsorted(self.catalogue, ids)] = products
        return scores


def quality_rows(run: Path, data: Path) -> Rows:
    """A tower's retrieval on the test split, both ways."""
    dataset, tower = PreparedDataset.open(data), SequenceTower.from_run(run)
    catalogue = scalar_column(dataset.items(), "item_id").astype(np.int64)
    through = ThroughIndex(tower, catalogue, 256, True)
    through.catalogue = torch.from_numpy(catalogue)
    rankers = {"float32": TowerScorer(tower, catalogue, 256, True), "through the index": through}
    queries = (split_queries(dataset, "test", bucket) for bucket in range(dataset.info.num_buckets))
    found = rank_queries(rankers, catalogue, queries, (10,))
    kept = ("queries", "hr@10", "ndcg@10")
    return [{"run": str(run), "": name, **{key: row[key] for key in kept}} for name, row in found.items()]


if __name__ == "__main__":
    main()
