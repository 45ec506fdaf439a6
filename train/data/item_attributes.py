"""What training needs to know of items beside their ids: content vectors, popularity and time of creation."""

import numpy as np
import numpy.typing as npt
import pyarrow

from pinfm.train.data.ragged import IntArray, list_column, scalar_column


class ItemAttributes:
    """Content vectors, popularity and time of creation by item id, held in memory.

    Args:
        table: items, ascending in item_id.
        content_dim: values of a content vector.
    """

    def __init__(self, table: pyarrow.Table, content_dim: int) -> None:
        self.item_id: IntArray = scalar_column(table, "item_id").astype(np.int64)
        counts = scalar_column(table, "event_count").astype(np.float64)
        # An item without a positive event counts as half a one: its share is small, not zero.
        shares = np.maximum(counts, 0.5) / max(counts.sum(), 1.0)
        self.num_positive_events, self._has_event = int(counts.sum()), counts > 0
        self._event_count = np.append(counts, 0.0).astype(np.int64)
        self._log_share = np.append(np.log(shares), np.log(0.5 / max(counts.sum(), 1.0))).astype(np.float32)
        self._created_at = np.append(scalar_column(table, "created_at").astype(np.float64), np.nan)
        self._in_training = table["in_training"].to_numpy() if "in_training" in table.column_names else None
        content = np.zeros((len(self.item_id) + 1, content_dim), dtype=np.float32)
        if content_dim:
            values, lengths = list_column(table, "content")
            content[:-1][lengths == content_dim] = values.reshape(-1, content_dim)
        self._content = content

    def known_at(self, time: int) -> IntArray:
        """The ids of items that were there before a time, ascending.

        Items whose time of creation is not known count as old, as do those with a positive event in training.
        """
        there_M = ~(self._created_at[:-1] >= time) | self._has_event
        ids: IntArray = self.item_id[there_M]
        return ids

    def in_training(self) -> IntArray:
        """The ids of items that training may know of, ascending, of a dataset whose splits are not by time."""
        ids: IntArray = self.item_id[self._in_training]
        return ids

    def content(self, ids_N: IntArray) -> npt.NDArray[np.float32]:
        """(N, K) content vectors; zeros for items that have none or are not known."""
        rows: npt.NDArray[np.float32] = self._content[self._rows(ids_N)]
        return rows

    def created_at(self, ids_N: IntArray) -> npt.NDArray[np.float64]:
        """(N,) Unix seconds; NaN for unknown ids."""
        rows: npt.NDArray[np.float64] = self._created_at[self._rows(ids_N)]
        return rows

    def event_count(self, ids_N: IntArray) -> IntArray:
        """(N,) positive training events of each item."""
        rows: IntArray = self._event_count[self._rows(ids_N)]
        return rows

    def log_share(self, ids_N: IntArray) -> npt.NDArray[np.float32]:
        """(N,) log of each item's share of the positive training events."""
        rows: npt.NDArray[np.float32] = self._log_share[self._rows(ids_N)]
        return rows

    def _rows(self, ids_N: IntArray) -> IntArray:
        """The table row of each id; one past the end for unknown ids."""
        if not len(self.item_id):
            return np.zeros(len(ids_N), dtype=np.int64)
        rows = np.searchsorted(self.item_id, ids_N).clip(max=len(self.item_id) - 1)
        return np.where(self.item_id[rows] == ids_N, rows, len(self.item_id))
