"""Rows that are not in memory as one array: files, frames and tables, read a range of rows at a time."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp.checks.arrays import as_array

__all__ = ["Source", "as_source", "as_source_of_any", "columns_of", "names_of"]


class Source:
    """Rows of something that is read in pieces: :meth:`read`, and where its own pieces end.

    `rows` is how many there are; `shape` that of an array of them all.
    """

    def __init__(self, values: Any, shape: tuple[int, ...]):
        self.values, self.shape = values, shape
        self.rows = shape[0]

    @property
    def width(self) -> int:
        """How many numbers a row has."""
        return math.prod(self.shape[1:])

    def read(self, first: int, last: int) -> np.ndarray:
        """Rows `first` up to `last` (left out), as an array."""
        raise NotImplementedError

    def edges(self, rows: int) -> list[int]:
        """Where pieces of about so many rows begin, and the end: along the edges of those that it is stored in."""
        step = self._stored()
        step = max(rows // step, 1) * step
        return [*range(0, self.rows, step), self.rows]

    def _stored(self) -> int:
        """How many rows are stored together."""
        return 1


class _Array(Source):
    """An array, in memory or mapped, and what is read as one: of h5py, zarr, dask and so on."""

    def __init__(self, values: Any):
        super().__init__(values, tuple(int(length) for length in values.shape))

    def read(self, first: int, last: int) -> np.ndarray:
        return np.asarray(self.values[first:last])

    def _stored(self) -> int:
        chunks = getattr(self.values, "chunks", None)  # rows and columns; of dask, tuples of them
        along = chunks[0] if isinstance(chunks, Sequence) and len(chunks) else 1
        return max(1, int(along[0] if isinstance(along, Sequence) else along))


class _Frame(Source):
    """A frame or a series of pandas."""

    def __init__(self, values: Any):
        super().__init__(values, tuple(values.shape))

    def read(self, first: int, last: int) -> np.ndarray:
        return self.values.iloc[first:last].to_numpy()


class _Table(Source):
    """A table, a record batch or a column of Arrow; a frame or a series of polars."""

    def __init__(self, values: Any):
        super().__init__(values, tuple(getattr(values, "shape", (len(values),))))

    def read(self, first: int, last: int) -> np.ndarray:
        return _array_of(self.values.slice(first, last - first))


class _Parts(Source):
    """A file or a data set of Arrow, Parquet mostly: read in the parts (row groups) that it is stored in."""

    def __init__(self, values: Any, columns: Sequence[str] | None = None):
        self.columns = list(_schema_of(values).names if columns is None else columns)
        if hasattr(values, "read_row_group"):
            counts = [values.metadata.row_group(i).num_rows for i in range(values.num_row_groups)]
        else:
            self._groups = [group for fragment in values.get_fragments() for group in _groups_of(fragment)]
            counts = [_length_of(group) for group in self._groups]
        self._ends = np.cumsum([0, *counts])
        super().__init__(values, (int(self._ends[-1]), len(self.columns)))

    def read(self, first: int, last: int) -> np.ndarray:
        begin, end = int(np.searchsorted(self._ends, first, "right")) - 1, int(np.searchsorted(self._ends, last))
        parts = [_array_of(self._part(i)) for i in range(begin, end)]
        skipped = first - int(self._ends[begin])
        joined = np.concatenate(parts) if len(parts) > 1 else parts[0]
        return joined[skipped : skipped + last - first]

    def _part(self, number: int) -> Any:
        if hasattr(self.values, "read_row_group"):
            return self.values.read_row_group(number, columns=self.columns).select(self.columns)
        return self._groups[number].to_table(columns=self.columns)

    def edges(self, rows: int) -> list[int]:
        result = [0]
        for end in self._ends[1:].tolist():
            if end - result[-1] >= rows or end == self.rows:
                result.append(end)
        return result


class _Column(Source):
    """A column of several, as targets are: (N,)."""

    def __init__(self, source: Source):
        super().__init__(source.values, source.shape[:1])
        self._source = source

    def read(self, first: int, last: int) -> np.ndarray:
        return self._source.read(first, last)[:, 0]


def _is_stored_in_parts(values: Any) -> bool:
    """Whether it is a file of Parquet or a data set of Arrow."""
    return hasattr(values, "read_row_group") or hasattr(values, "get_fragments")


def _schema_of(values: Any) -> Any:
    return values.schema_arrow if hasattr(values, "schema_arrow") else values.schema


def _groups_of(fragment: Any) -> list[Any]:
    """The row groups of a fragment of a data set; of other formats than Parquet, the fragment."""
    return fragment.split_by_row_group() if hasattr(fragment, "split_by_row_group") else [fragment]


def _length_of(group: Any) -> int:
    """How many rows of it there are: `count_rows` gives those of the whole file."""
    return sum(part.num_rows for part in group.row_groups) if hasattr(group, "row_groups") else group.count_rows()


def _array_of(table: Any) -> np.ndarray:
    """The array of a table of Arrow or polars, or of a column."""
    if hasattr(table, "itercolumns"):
        return np.column_stack([_array_of(column) for column in table.itercolumns()])
    if hasattr(table, "type"):  # a column of Arrow
        return table.to_numpy(zero_copy_only=False)
    return table.to_numpy()


def as_source(values: Any) -> Source | None:
    """What reads `values` in pieces; None where they are an array in memory, or what NumPy makes one of."""
    if type(values) is np.ndarray or isinstance(values, (list, tuple)):
        return None
    if isinstance(values, Source):
        return values
    if isinstance(values, np.memmap):
        return _Array(values)
    if isinstance(values, np.ndarray):
        return None
    if hasattr(values, "iloc") and hasattr(values, "to_numpy"):
        return _Frame(values)
    if _is_stored_in_parts(values):
        return _Parts(values)
    if hasattr(values, "slice") and (hasattr(values, "to_numpy") or hasattr(values, "itercolumns")):
        return _Table(values)
    if hasattr(values, "chunks") and hasattr(values, "shape") and hasattr(values, "__getitem__"):
        return _Array(values)
    return None


def as_source_of_any(values: Any, name: str) -> Source:
    """A source of anything: what is none becomes an array."""
    source = as_source(values)
    if source is None:
        array = as_array(values, name)
        source = _Array(array.reshape(1) if array.ndim == 0 else array)
    return source


def names_of(values: Any) -> list[Any] | None:
    """The names of the columns of a frame, a table or a file; None where there are none."""
    if _is_stored_in_parts(values):
        return list(_schema_of(values).names)
    if hasattr(values, "column_names"):  # of Arrow
        return list(values.column_names)
    return list(values.columns) if hasattr(values, "columns") and as_source(values) is not None else None


def columns_of(values: Any, names: Sequence[Any], *, flat: bool = False) -> Source:
    """Columns of what has names, in this order; with `flat`, the only one as (N,)."""
    if _is_stored_in_parts(values):
        source: Source = _Parts(values, names)
    else:
        chosen = values[list(names)] if hasattr(values, "iloc") else values.select(list(names))
        source = as_source_of_any(chosen, "X")
    return _Column(source) if flat else source
