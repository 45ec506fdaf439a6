"""Scoring from file to file, a batch in memory at a time."""

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
from tqdm import tqdm

from pinfm.embeddings.errors import UserError
from pinfm.embeddings.files.lock import being_written
from pinfm.embeddings.files.parts import Part
from pinfm.embeddings.files.whole import replaced
from pinfm.inference.adaptation.explain import ID_TYPES, TrustFile
from pinfm.inference.artifact import Scorer, require_requests
from pinfm.inference.folders import require_own_file
from pinfm.inference.requests.columns import Column
from pinfm.inference.requests.parts import request_parts
from pinfm.inference.requests.values import as_array, convert, refuse


def score_file(
    scorer: Scorer, requests: Path, out: Path, batch_size: int, explanation: TrustFile | None = None
) -> tuple[int, int]:
    """Scores Parquet requests into another file, which appears when it is whole.

    Args:
        scorer: the artefact.
        requests: a file of one row per request, or a folder of such files, which are read in the order of their names.
        out: the file to write; see `Scorer.score` for its columns. Requests are numbered over all files.
        batch_size: requests scored at a time; does not change the scores.
        explanation: opened, also told of every request.

    Returns:
        How many requests and how many candidates.

    Raises:
        UserError: a file is no Parquet, is damaged, does not fit the signature or its folders' names, there are no
            rows, or `out` is no file of its own.
    """
    parts = request_parts(requests)
    require_own_file(out, requests, scorer.folder)
    total = sum(_opened(part.path).metadata.num_rows for part in parts)
    require_requests(total, batch_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    done = candidates = 0
    with _scores_file(out, _schema(scorer), total) as (writer, bar):
        for part in parts:
            before = done
            for frame in _frames(part, batch_size, scorer.columns):
                try:
                    scores = scorer.score(frame, batch_size, done - before)
                    _require_agreement(frame, part, scorer.columns, done - before)
                except UserError as error:
                    if len(parts) == 1:
                        raise
                    raise UserError(f"{part.path}, {error}") from error
                scores["request"] += before
                writer.write_table(pyarrow.Table.from_pandas(scores, writer.schema, preserve_index=False))
                if explanation is not None:
                    explanation.write(frame, done)
                done, candidates = done + len(frame), candidates + len(scores)
                bar.update(len(frame))
    return done, candidates


def retrieve_file(scorer: Scorer, requests: Path, out: Path, k: int, batch_size: int) -> tuple[int, int]:
    """Retrieves for Parquet requests into another file, which appears when it is whole.

    Args:
        scorer: the artefact, with an index.
        requests: a file of one row per request, or a folder of such files; see `Scorer.retrieve` for their columns.
        out: the file to write; requests are numbered over all files.
        k: items for each request.
        batch_size: requests at a time.

    Returns:
        How many requests, and how many items were found.

    Raises:
        UserError: as `score_file`, or `Scorer.retrieve`.
    """
    parts, columns = request_parts(requests), scorer.retrieval_columns
    require_own_file(out, requests, scorer.folder)
    total = sum(_opened(part.path).metadata.num_rows for part in parts)
    require_requests(total, batch_size)
    out.parent.mkdir(parents=True, exist_ok=True)
    schema = pyarrow.schema([*list(_schema(scorer))[:2], ("inner_product", pyarrow.float32())])
    done = items = 0
    with _scores_file(out, schema, total) as (writer, bar):
        for part in parts:
            before = done
            for frame in _frames(part, batch_size, columns):
                try:
                    found = scorer.retrieve(frame, k, batch_size, done - before)
                except UserError as error:
                    if len(parts) == 1:
                        raise
                    raise UserError(f"{part.path}, {error}") from error
                found["request"] += before
                writer.write_table(pyarrow.Table.from_pandas(found, schema, preserve_index=False))
                done, items = done + len(frame), items + len(found)
                bar.update(len(frame))
    return done, items


def score_frames(
    scorer: Scorer, frames: Iterable[pd.DataFrame], out: Path, batch_size: int, explanation: TrustFile | None = None
) -> tuple[int, int]:
    """Scores requests that come as frames, into a file that also says whose they are.

    Args:
        scorer: the artefact.
        frames: at least one; a row a request, with `request_id` beside the artefact's inputs; ids as in the log.
        out: the file to write, outside the artefact: `request` (numbered over all frames), `request_id`, `user_id`,
            `timestamp` of the request, `item_id`, and a probability a task.
        batch_size: requests scored at a time; does not change the scores.
        explanation: opened, also told of every request.

    Returns:
        How many requests and how many candidates.

    Raises:
        UserError: a frame does not fit the signature.
    """
    out.parent.mkdir(parents=True, exist_ok=True)
    frames = iter(frames)
    first = next(frames)
    # What ids are is the same in all frames.
    schema = pyarrow.Schema.from_pandas(_whose(scorer.score(first.head(1)), first, 0), preserve_index=False)
    done = candidates = 0
    with _scores_file(out, schema, None) as (writer, bar):
        for frame in chain([first], frames):
            scores = _whose(scorer.score(frame, batch_size, done), frame, done)
            writer.write_table(pyarrow.Table.from_pandas(scores, schema, preserve_index=False))
            if explanation is not None:
                explanation.write(frame, done)
            done, candidates = done + len(frame), candidates + len(scores)
            bar.update(len(frame))
    return done, candidates


def _whose(scores: pd.DataFrame, requests: pd.DataFrame, first_row: int) -> pd.DataFrame:
    """Scores with the id, the user and the time of each candidate's request, behind the number of it."""
    row = scores["request"].to_numpy() - first_row
    names = {"request_id": "request_id", "user_id": "user_id", "request_timestamp": "timestamp"}
    of_requests = requests[list(names)].rename(columns=names).iloc[row].reset_index(drop=True)
    return pd.concat([scores[["request"]], of_requests, scores.drop(columns="request")], axis=1)


@contextmanager
def _scores_file(
    out: Path, schema: pyarrow.Schema, total: int | None
) -> Iterator[tuple[pyarrow.parquet.ParquetWriter, "tqdm[Any]"]]:
    """A file that appears when it is whole, and a bar that counts requests."""
    # disable=None: no bar where stderr is no terminal.
    with (
        being_written(out),
        replaced(out) as unfinished,
        tqdm(total=total, unit="request", unit_scale=True, disable=None) as bar,
        pyarrow.parquet.ParquetWriter(unfinished, schema, compression="zstd") as writer,
    ):
        yield writer, bar


def _schema(scorer: Scorer) -> pyarrow.Schema:
    """Of the scores, whatever the first batch of them holds."""
    (ids,) = (column.ids for column in scorer.columns if column.name == "candidate_item_id")
    fields = [("request", pyarrow.int64()), ("item_id", ID_TYPES[ids or "int64"])]
    return pyarrow.schema([*fields, *((task, pyarrow.float32()) for task in scorer.tasks)])


def _opened(path: Path) -> pyarrow.parquet.ParquetFile:
    try:
        return pyarrow.parquet.ParquetFile(path)
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise UserError(f"{path} can't be read as Parquet; give a Parquet file of requests.") from error


def _frames(part: Part, batch_size: int, columns: Sequence[Column]) -> Iterator[pd.DataFrame]:
    """The columns that scoring asks for; whatever else is in the file may be of any kind."""
    wanted = {column.name: column for column in columns}
    source = _opened(part.path)
    there = [name for name in source.schema_arrow.names if name in wanted]
    batches = source.iter_batches(batch_size, columns=there)
    named = {name: value for name, value in part.partition if name in wanted and name not in there}
    while True:
        try:
            batch = next(batches, None)
        except (pyarrow.ArrowInvalid, OSError) as error:
            raise UserError(f"{part.path} is damaged ({' '.join(str(error).split())}); write it again.") from error
        if batch is None:
            return
        # Else a missing integer makes floats of the others.
        frame = batch.to_pandas(integer_object_nulls=True)
        yield frame.assign(**{name: _partition_value(value, wanted[name]) for name, value in named.items()})


def _require_agreement(frame: pd.DataFrame, part: Part, columns: Sequence[Column], first_row: int) -> None:
    """Raises UserError where a column of the file holds another value than its folder's name says."""
    scalars = {column.name: column for column in columns if column.scope == "request"}
    for name, value in part.partition:
        if name in scalars:
            rows = first_row + np.arange(len(frame))
            told = convert(as_array([_partition_value(value, scalars[name])]), scalars[name], rows[:1])
            other = convert(as_array(frame[name]), scalars[name], rows) != told
            problem = f"is not what the folder {name}={value} says; correct one of them"
            refuse(other, rows, scalars[name], problem)


def _partition_value(value: str | None, column: Column) -> float | str | None:
    """What a folder's name says, which is text; integers are read of text anyway."""
    try:
        return float(value) if column.dtype == "float32" and value is not None else value
    except ValueError as error:
        raise UserError(f"a folder is called {column.name}={value}, but {column.name} is a number.") from error
