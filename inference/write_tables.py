"""The files of a model's id tables, written block by block from a checkpoint, whatever size the tables have."""

import zlib
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote

from torch import Tensor
from tqdm import tqdm

from pinfm.embeddings.quantize import in_precision
from pinfm.embeddings.specs import ServedPrecision
from pinfm.inference.tables import TABLES, TableFile, bytes_of
from pinfm.model.stored.run_folder import FEATURE_TABLES, ITEM_TABLES, RunFolder, Which
from pinfm.model.stored.sums import require_unchanged
from pinfm.model.stored.table import StoredTable
from pinfm.model.stored.weights import read_id_map

# Rows read, packed and written at a time, which bounds the memory of an export.
BLOCK_ROWS = 1 << 15


def write_tables(run: RunFolder, folder: Path, precision: ServedPrecision, which: Which = "best") -> list[TableFile]:
    """Writes every table of a run's checkpoint below a model folder, a block in memory at a time.

    Args:
        run: a fine-tuning run.
        folder: the model folder.
        precision: to store them in.
        which: of the run's checkpoints.

    Raises:
        UserError: the checkpoint can't be read, or was changed.
    """
    checkpoint, files = run.checkpoint_at(which), []
    require_unchanged(checkpoint)
    spaces = [(ITEM_TABLES, run.item_table), *((FEATURE_TABLES, table) for table in run.feature_tables)]
    for collection, table in spaces:
        # disable=None: no bar where stderr is no terminal.
        for name in tqdm(table.sub_tables(), desc=f"{table.name} in {precision}", unit="table", disable=None):
            stored = StoredTable(checkpoint, f"model.{collection}.embeddings.{name}.weight")
            blocks = (in_precision(block, precision) for block in stored.blocks(BLOCK_ROWS))
            files.append(write_table(folder, f"{collection}.{name}", blocks))
        if table.ids == "managed":
            id_map = read_id_map(run, table, checkpoint).chunk(2)
            files.append(write_table(folder, f"{collection}.{table.name}.ids", id_map))
    return files


def write_table(folder: Path, name: str, blocks: Iterable[Tensor], below: str = TABLES) -> TableFile:
    """Writes one sub-table.

    Args:
        folder: the model folder.
        name: of the sub-table, after its collection's.
        blocks: its rows in order, in the type to store; at least one block.
        below: the folder in it.
    """
    path = folder / below / f"{quote(name, safe='')}.bin"
    path.parent.mkdir(exist_ok=True)
    crc32 = rows = 0
    with path.open("wb") as file:
        for block in blocks:
            values = bytes_of(block.contiguous())
            file.write(values)
            crc32 = zlib.crc32(values, crc32)
            rows += block.size(0)
    return TableFile(
        name=name,
        file=f"{below}/{path.name}",
        rows=rows,
        columns=block.size(1),
        dtype=str(block.dtype).removeprefix("torch."),
        crc32=crc32,
    )
