"""Keys -> rows of arrays, many at a time: a dictionary of Python takes a microsecond and a hundred bytes a key."""

import numpy as np
import numpy.typing as npt

Int64s = npt.NDArray[np.int64]
Places = npt.NDArray[np.intp]

SLOTS = 8
# Of the slots, before the table grows: so that few buckets overflow.
MOST_FILLED = 0.625
# At most, after it was built anew.
FILLED_ANEW = 0.5
LEAST_BUCKETS = 64
# Odd numbers without a pattern (the golden ratio; a prime of xxHash).
_MULTIPLIERS = (np.uint64(0x9E3779B97F4A7C15), np.uint64(0xC2B2AE3D27D4EB4F))


class KeyTable:
    """A hash table of buckets with eight slots, filled in order; what overflows goes on in the next bucket.

    A removed key leaves its slot behind, without a row, until the table is built anew.

           bucket 0          bucket 1 (full)   bucket 2
        keys | 7 5 . . ... | 3 9 4 1 6 2 8 0 | 11 .  . . ... |      11 belongs to bucket 1
        rows | 2 1 0 0 ... | 5 3 4 9 8 6 7 0 | 10 0  0 0 ... |      0 was removed: row 0 is nobody's

    Args:
        width: whole numbers that make a key.
    """

    def __init__(self, width: int) -> None:
        self.width = width
        # Keys, and slots that they or removed ones take.
        self._length = self._used = 0
        self._build(LEAST_BUCKETS)

    def __len__(self) -> int:
        return self._length

    @property
    def nbytes(self) -> int:
        """Of memory."""
        return sum(column.nbytes for column in self._keys) + self._rows.nbytes + self._filled.nbytes

    def find(self, keys_NW: Int64s) -> Places:
        """(N, width) keys -> (N) rows; 0 for those that are not there."""
        rows_N = np.zeros(len(keys_NW), dtype=np.intp)
        left, bucket = np.arange(len(keys_NW)), self._home(keys_NW)
        while len(left):
            # take(): of few rows that lie far apart, indexing is four times as slow.
            equal = self._keys[0].take(bucket, axis=0) == keys_NW[left, 0, None]
            for column in range(1, self.width):
                equal &= self._keys[column].take(bucket, axis=0) == keys_NW[left, column, None]
            (matches,) = equal.ravel().nonzero()
            asked = matches // SLOTS
            rows = self._rows.ravel().take(bucket[asked] * SLOTS + matches % SLOTS)
            # Empty slots look like the key of zeros, and a removed key has a row elsewhere or none.
            rows_N[left[asked[rows > 0]]] = rows[rows > 0]
            on = (self._filled.take(bucket) == SLOTS) & (rows_N[left] == 0)
            left, bucket = left[on], self._next(bucket[on])
        return rows_N

    def insert(self, keys_NW: Int64s, rows_N: Places) -> None:
        """Adds keys that are not there, each once.

        Args:
            keys_NW: int64.
            rows_N: of each, above 0.
        """
        self._length += len(keys_NW)
        self._used += len(keys_NW)
        if self._used > MOST_FILLED * SLOTS * len(self._filled):
            keys, rows = self.entries()
            # Removed keys may have filled it: then it stays as large as it is.
            buckets = len(self._filled)
            while self._length > FILLED_ANEW * SLOTS * buckets:
                buckets *= 2
            self._build(buckets)
            self._length = self._used = len(keys) + len(keys_NW)
            keys_NW, rows_N = np.concatenate([keys, keys_NW]), np.concatenate([rows, rows_N])
        bucket = self._home(keys_NW)
        while len(bucket):
            order = np.argsort(bucket, kind="stable")
            bucket, keys_NW, rows_N = bucket[order], keys_NW[order], rows_N[order]
            slot = self._filled[bucket] + np.arange(len(bucket)) - np.searchsorted(bucket, bucket)
            fits = slot < SLOTS
            for column in range(self.width):
                self._keys[column][bucket[fits], slot[fits]] = keys_NW[fits, column]
            self._rows[bucket[fits], slot[fits]] = rows_N[fits]
            np.add.at(self._filled, bucket[fits], np.uint8(1))
            bucket, keys_NW, rows_N = self._next(bucket[~fits]), keys_NW[~fits], rows_N[~fits]

    def remove(self, rows: Places, size: int) -> None:
        """Takes the keys of some rows out.

        Args:
            rows: of them.
            size: above every row of the table.
        """
        gone = np.zeros(size, dtype=np.bool_)
        gone[rows] = True
        self._rows[gone[self._rows]] = 0
        self._length -= len(rows)

    def entries(self) -> tuple[Int64s, Places]:
        """All keys (N, width) and their rows."""
        there = self._rows > 0
        keys = np.stack([column[there] for column in self._keys], axis=1)
        return keys, self._rows[there].astype(np.intp)

    def _build(self, buckets: int) -> None:
        self._keys = [np.zeros((buckets, SLOTS), dtype=np.int64) for _ in range(self.width)]
        self._rows = np.zeros((buckets, SLOTS), dtype=np.int32)
        self._filled = np.zeros(buckets, dtype=np.uint8)
        self._shift = np.uint64(64 - (buckets.bit_length() - 1))

    def _home(self, keys_NW: Int64s) -> Places:
        """The bucket that a key belongs to: the highest bits of a product, which all bits of the key reach."""
        hashed = np.zeros(len(keys_NW), dtype=np.uint64)
        for column, multiplier in zip(range(self.width), _MULTIPLIERS, strict=False):
            hashed ^= hashed >> np.uint64(31)
            hashed += keys_NW[:, column].view(np.uint64)
            hashed ^= hashed >> np.uint64(32)
            hashed *= multiplier
        return (hashed >> self._shift).astype(np.intp)

    def _next(self, bucket: Places) -> Places:
        return (bucket + 1) & (len(self._filled) - 1)
