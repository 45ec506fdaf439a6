"""Scoring from file to file, a batch in memory at a time."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.lock import being_written
from pinfm.embeddings.files.whole import replaced
from pinfm.inference.artifact import Scorer, require_requests
from pinfm.inference.folders import require_own_file


def score_file(scorer: Scorer, requests: Path, out: Path, batch_size: int) -> tuple[int, int]:
    """Scores a Parquet file of requests into another, which appears when it is whole.

    Args:
        scorer: the artefact.
        requests: one row per request.
        out: the file to write; see `Scorer.score` for its columns.
        batch_size: requests scored at a time; does not change the scores.

    Returns:
        How many requests and how many candidates.

    Raises:
        UserError: the file is no Parquet, is damaged, holds no rows or does not fit the signature; `out` is no file of
            its own.
    """
    try:
        source = pyarrow.parquet.ParquetFile(requests)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{requests} can't be read as Parquet; give a Parquet file of requests.") from error
    require_own_file(out, requests)
    total = source.metadata.num_rows
    require_requests(total, batch_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = candidates = 0
    writer = None
    # disable=None: no bar where stderr is no terminal.
    bar = tqdm(total=total, unit="request", unit_scale=True, disable=None)
    with being_written(out), replaced(out) as unfinished, ExitStack() as opened, bar:
        for batch in _batches(source, requests, batch_size, {column.name for column in scorer.columns}):
            scores = pyarrow.Table.from_pandas(scorer.score(batch.to_pandas(), batch_size, done), preserve_index=False)
            if writer is None:
                writer = pyarrow.parquet.ParquetWriter(unfinished, scores.schema, compression="zstd")
                opened.enter_context(writer)
            writer.write_table(scores)
            done, candidates = done + len(batch), candidates + len(scores)
            bar.update(len(batch))
    return done, candidates


def _batches(
    source: pyarrow.parquet.ParquetFile, requests: Path, batch_size: int, wanted: set[str]
) -> Iterator[pyarrow.RecordBatch]:
    """The columns that scoring asks for; whatever else is in the file may be of any kind."""
    try:
        columns = [name for name in source.schema_arrow.names if name in wanted]
        yield from source.iter_batches(batch_size, columns=columns)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{requests} is damaged ({' '.join(str(error).split())}); write it again.") from error
