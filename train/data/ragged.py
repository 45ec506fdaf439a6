"""Ragged arrays in numpy: values in one flat array, a start and a length per row."""

import numpy as np
import numpy.typing as npt
import pyarrow as pa

IntArray = npt.NDArray[np.int64]


def ragged_index(starts: IntArray, lengths: IntArray) -> IntArray:
    """The flat positions of all values of some rows.

    Args:
        starts: (R,) first position of each row.
        lengths: (R,) values of each row.

    Returns:
        (sum of lengths,) positions, row after row.

    Example:
        >>> ragged_index(np.array([5, 0]), np.array([2, 1]))
        array([5, 6, 0])
    """
    ends = np.cumsum(lengths)
    return np.repeat(starts - (ends - lengths), lengths) + np.arange(ends[-1] if len(ends) else 0)


def list_column(table: pa.Table, name: str) -> tuple[npt.NDArray[np.generic], IntArray]:
    """The flat values of a list column and the length of each row."""
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):  # an empty table combines to no chunk
        column = pa.concat_arrays(column.chunks) if column.num_chunks else pa.array([], type=column.type)
    values = column.flatten().to_numpy(zero_copy_only=False)
    lengths = np.diff(column.offsets.to_numpy()) if len(column) else np.zeros(0)
    return values, lengths.astype(np.int64)


def scalar_column(table: pa.Table, name: str) -> npt.NDArray[np.generic]:
    """A column as one array."""
    values: npt.NDArray[np.generic] = table.column(name).to_numpy()
    return values
