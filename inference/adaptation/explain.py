"""How far each event of a file's histories is trusted: `pinfm score --explain`."""

from contextlib import ExitStack
from heapq import nlargest
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
import pandas as pd
import pyarrow
import pyarrow.parquet
import torch

from pinfm.embeddings.files.lock import being_written
from pinfm.embeddings.files.whole import replaced
from pinfm.inference.artifact import Scorer, require_requests
from pinfm.inference.folders import adaptation_of, require_trust
from pinfm.inference.requests.frames import written_ids

ID_TYPES = {"int64": pyarrow.int64(), "uint64": pyarrow.uint64(), "text": pyarrow.string()}
# Requests that the sentence names.
NAMED = 3


@torch.no_grad()
def explain(scorer: Scorer, requests: pd.DataFrame, first_row: int = 0) -> pd.DataFrame:
    """The trust of each event that the model reads.

    Args:
        scorer: an artefact that was exported with --adapt trust.
        requests: one row per request, as for `Scorer.score`.
        first_row: number of the frame's first row, where the frame is a piece of a file.

    Returns:
        One row per request: `request`; `history_not_read`, how many of its oldest events the model is too short for;
        `history_item_id` and `history_trust`, lists of those that it reads, oldest first. The model drops events whose
        trust is below its threshold.

    Raises:
        UserError: the artefact weighs no events, the frame is empty, or it does not fit the signature.
    """
    require_trust(scorer.folder)
    require_requests(len(requests), batch_size=1)
    inputs = scorer.inputs(requests, first_row)
    (column,) = (column for column in scorer.columns if column.name == "history_item_id")
    read = inputs["history_lengths"].tolist()
    cells = [cell[len(cell) - length :] for cell, length in zip(requests[column.name], read, strict=True)]
    ids = written_ids(cells, inputs[column.name], column).to_numpy()
    trust = scorer.module.trust(inputs).numpy()
    ends = np.cumsum(read)[:-1]
    return pd.DataFrame(
        {
            "request": first_row + np.arange(len(requests)),
            "history_not_read": [len(cell) for cell in requests[column.name]] - inputs["history_lengths"].numpy(),
            "history_item_id": np.split(ids, ends),
            "history_trust": np.split(trust, ends),
        }
    )


class TrustFile:
    """A Parquet file of `explain`'s rows, which appears when it is whole, and what stands in it in one sentence.

    Args:
        scorer: an artefact that was exported with --adapt trust.
        path: the file to write.
    """

    def __init__(self, scorer: Scorer, path: Path) -> None:
        self._scorer, self._path, self._open = scorer, path, ExitStack()
        self._threshold: float = adaptation_of(scorer.folder)["settings"]["threshold"]
        self._requests = self._events = self._distrusted = self._touched = 0
        # (distrusted, - request, events), of those that have most
        self._most: list[tuple[int, int, int]] = []

    def __enter__(self) -> "TrustFile":
        self._path.parent.mkdir(parents=True, exist_ok=True)
        self._open.enter_context(being_written(self._path))
        unfinished = self._open.enter_context(replaced(self._path))
        (ids,) = (column.ids for column in self._scorer.columns if column.name == "history_item_id")
        self._schema = pyarrow.schema(
            [
                ("request", pyarrow.int64()),
                ("history_not_read", pyarrow.int64()),
                ("history_item_id", pyarrow.list_(ID_TYPES[ids or "int64"])),
                ("history_trust", pyarrow.list_(pyarrow.float32())),
            ]
        )
        writer = pyarrow.parquet.ParquetWriter(unfinished, self._schema, compression="zstd")
        self._writer = self._open.enter_context(writer)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._open.__exit__(kind, error, trace)

    def write(self, requests: pd.DataFrame, first_row: int) -> None:
        """Appends requests, the first of which has this number."""
        rows = explain(self._scorer, requests, first_row)
        for request, trust in zip(rows["request"], rows["history_trust"], strict=True):
            distrusted = int((trust < self._threshold).sum())
            self._events += len(trust)
            self._distrusted += distrusted
            self._touched += distrusted > 0
            self._most = nlargest(NAMED, [*self._most, (distrusted, -int(request), len(trust))])
        self._requests += len(rows)
        self._writer.write_table(pyarrow.Table.from_pandas(rows, self._schema, preserve_index=False))

    def summary(self) -> dict[str, Any]:
        """Counts of events and of those that are distrusted, and the requests that have most of them."""
        return {
            "threshold": self._threshold,
            "events": self._events,
            "distrusted": self._distrusted,
            "requests_with_distrusted": self._touched,
            "most": [
                {"request": -negated, "events": events, "distrusted": distrusted}
                for distrusted, negated, events in self._most
                if distrusted
            ],
        }

    def sentence(self) -> str:
        """The summary in words."""
        told = self.summary()
        share = 100 * told["distrusted"] / max(told["events"], 1)
        named = [f"{row['request']} ({row['distrusted']} of {row['events']})" for row in told["most"]]
        return (
            f"{share:.1f} % of {told['events']} events are distrusted (trust below {told['threshold']:g}), in "
            f"{told['requests_with_distrusted']} of {self._requests} requests"
            + (f"; most in {', '.join(named)}" if named else "")
        )
