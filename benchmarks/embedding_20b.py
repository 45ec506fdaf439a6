r"""The paper's whole item table, 20.48 billion parameters in int4, built on disk and served by one ordinary machine.

    ./run python -m benchmarks.embedding_20b --out runs/embedding_20b --write

A model folder with 8 tables of 80M rows of 32 columns is written block by block (12.8 GB of random rows, packed as
`pinfm export` packs them), once. A new process loads it with its checksums verified, answers a whole request, and then
looks up the ids of a history of 256 events and of 1,000 candidates, again and again: ids drawn from a Zipf
distribution, which has a head that stays in the caches, and evenly drawn ones, which miss them. Then a second process
serves the same files beside the first. All of that several times over; the median of every figure counts. Last, one
process starts whose files the system has forgotten, as after a reboot.
"""

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from tqdm import trange

from benchmarks.parts.speed.performance import add_output_flags, median_row, put_out
from benchmarks.parts.speed.served_model import CONFIG, FEATURE_DIM, SCHEMA, random_request
from pinfm.embeddings.one_device.lookup import init_range
from pinfm.embeddings.one_device.served import ServedTable
from pinfm.embeddings.quantize import in_precision
from pinfm.embeddings.specs import IdTable
from pinfm.inference.artifact import write_checksums, write_json
from pinfm.inference.export import save_module
from pinfm.inference.folders import MANIFEST, MODULE, SIGNATURE
from pinfm.inference.module import ScoringModule
from pinfm.inference.requests.checks import InputChecks
from pinfm.inference.requests.columns import input_columns
from pinfm.inference.tables import TableFile
from pinfm.inference.write_tables import BLOCK_ROWS, write_table
from pinfm.model.ranking.joint import build_model
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES

PAGE = Path("docs/scale.md")
EVENTS, CANDIDATES = 256, 1000
FEATURE_ROWS = 1_000_000


def main() -> None:
    """Builds what is missing, serves, prints two tables and writes the report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("runs/embedding_20b"), help="where the model folder is built")
    parser.add_argument("--rows", type=int, default=80_000_000, help="of each of the 8 item tables")
    parser.add_argument("--lookups", type=int, default=2000, help="timed, of each kind of ids")
    parser.add_argument("--repeats", type=int, default=5, help="turns; the median counts")
    add_output_flags(parser)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    folder = args.out / f"model_{args.rows}"
    torch.manual_seed(0)
    if not (folder / MANIFEST).exists():
        build(folder, args.rows)
    torch.save(random_request(EVENTS, CANDIDATES), args.out / "request.pt")
    words = [str(folder), str(args.out / "request.pt"), "--threads", str(args.threads)]
    command = [
        sys.executable,
        "-m",
        "benchmarks.parts.workers.embedding_server",
        *words,
        "--lookups",
        str(args.lookups),
    ]
    turns = [serve(command) for _ in trange(args.repeats, unit="turn", disable=None)]
    processes, lookups = medians([rows for rows, _ in turns]), medians([rows for _, rows in turns])
    forget_files(folder)
    with Server(command) as server:
        processes.append(process_row("first, from the disk", server.answer(), server.ask("memory")))
    table_gb = sum(file.stat().st_size for file in folder.glob(f"tables/{ITEM_TABLES}*")) / 1e9
    processes = [{**row, "tables, GB": table_gb} for row in processes]
    put_out(args, "embedding_20b", {"processes": processes, "lookups": lookups}, PAGE)


def serve(command: list[str]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """One turn: a process that serves, and then a second one beside it.

    Args:
        command: of the process.

    Returns:
        a row for each process, and the first one's rows of lookups.
    """
    with Server(command) as first:
        told = first.answer()
        alone = first.ask("memory")
        with Server(command) as second:
            beside = process_row("second, beside it", second.answer(), second.ask("memory"))
    return [process_row("first", told, alone), beside], told["lookups"]


def medians(turns: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each of the rows that every turn gave."""
    return [median_row(rows) for rows in zip(*turns, strict=True)]


def process_row(name: str, told: dict[str, Any], memory: dict[str, float]) -> dict[str, Any]:
    """A line of the table of processes."""
    return {"process": name, "start to first answer, s": told["start_s"], **memory}


def forget_files(folder: Path) -> None:
    """Has the system drop a folder's files from its page cache."""
    for path in folder.rglob("*"):
        if path.is_file():
            with path.open("rb") as file:
                os.fsync(file.fileno())
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def build(folder: Path, rows: int) -> None:
    """Writes a model folder with random weights and tables, the manifest last.

    Args:
        folder: to write.
        rows: of each item table.
    """
    items = IdTable(name="item", num_hashes=8, rows=rows, dim=32)
    names = ["user_id", *(f.name for f in SCHEMA.features if f.kind == "categorical")]
    features = [IdTable(name=name, num_hashes=2, rows=FEATURE_ROWS, dim=FEATURE_DIM // 2) for name in names]
    served = {table.name: ServedTable(table, "int4", FEATURE_TABLES) for table in features}
    item_table = ServedTable(items, "int4", ITEM_TABLES)
    folder.mkdir(parents=True, exist_ok=True)
    files: list[TableFile] = []
    for table, placed in zip([items, *features], [item_table, *served.values()], strict=True):
        files += [write_table(folder, name, random_blocks(table, name)) for name in placed.names]
    checks = InputChecks(input_columns(SCHEMA), EVENTS)
    module = ScoringModule(
        build_model(CONFIG, SCHEMA, item_table.dim, FEATURE_DIM),
        item_table,
        served,
        SCHEMA,
        checks,
    ).eval()
    module.table_files = [file.to_row() for file in files]
    save_module(module, folder / MODULE)
    columns = [column.to_json() for column in input_columns(SCHEMA)]
    write_json(folder / SIGNATURE, {"inputs": columns, "max_history": EVENTS, "tasks": list(SCHEMA.tasks)})
    write_json(folder / MANIFEST, {"sha256": write_checksums(folder), "tables": [file.to_json() for file in files]})


def random_blocks(table: IdTable, name: str) -> Iterator[Tensor]:
    """The rows of a sub-table as new ones are, packed, so many at a time."""
    for start in trange(0, table.rows, BLOCK_ROWS, desc=name, unit="block", disable=None):
        rows = min(BLOCK_ROWS, table.rows - start)
        yield in_precision(torch.empty(rows, table.dim).uniform_(*init_range(table)), "int4")


class Server:
    """A process that serves the folder, from its start on.

    Args:
        command: of the process.
    """

    def __init__(self, command: list[str]) -> None:
        self._started = time.time()
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def __enter__(self) -> "Server":
        return self

    def __exit__(self, *error: object) -> None:
        self._process.communicate()

    def answer(self) -> dict[str, Any]:
        """What it measured; waits for it."""
        told = self._read()
        told["start_s"] = told.pop("answered_at") - self._started
        return told

    def ask(self, word: str) -> dict[str, Any]:
        """The answer to one line."""
        assert self._process.stdin is not None
        self._process.stdin.write(word + "\n")
        self._process.stdin.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the serving process ended with {self._process.wait()}")
        told: dict[str, Any] = json.loads(line)
        return told


if __name__ == "__main__":
    main()
