"""Data that is read in pieces while a network trains on it."""

from __future__ import annotations

import inspect
import threading
from collections.abc import Callable, Generator, Sequence
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.sources import Source, as_source, as_source_of_any, columns_of, names_of

__all__ = ["Chunks", "opened"]

#: Bytes of inputs that are in memory together, where `buffer_rows` does not say it, and in how many chunks they are read then.
BUFFER_BYTES, CHUNKS = 2**25, 16


class Chunks:
    """Data that does not fit into memory, or comes piece by piece: what `fit` and `evaluate` take in the place of `X`.

    A thread reads some chunks ahead while the network trains. In a shuffled epoch the chunks come in an order that is a
    function of the seed and the epoch alone; those that fit into the buffer are in memory together, and their rows shuffled.
    With a buffer that holds everything, training is, bit for bit, what it is on arrays in memory.

    Parameters
    ----------
    X : object with rows, or callable
        A ``numpy.memmap``; a data set of h5py or zarr; a frame of pandas or polars; a table, a ``ParquetFile`` or a data set of
        pyarrow; an array. Or a function ``f()``, or ``f(epoch)``, whose call gives an iterator over chunks ``(X, y)`` or
        ``(X, y, sample_weight)``: arrays of any number of rows, as many in all for each epoch.
    y : array_like, any of the former, or str, optional
        Labels or targets, with as many rows; or the name of the column of `X` that has them. None, with a function.
    sample_weight : array_like, any of the former, or str, optional
        How much each row counts.
    columns : list of str, optional
        The columns of `X` that are inputs; by default all but those of `y` and `sample_weight`.
    chunk_rows : int, optional
        Rows that are read together, rounded to whole chunks of the file; by default a sixteenth of the buffer.
    buffer_rows : int, optional
        Rows that are in memory, and shuffled, together; by default 32 MiB of inputs. Twice as many are, for those ahead.
    rows : int, optional
        How many rows a function gives in an epoch. By default it is called once more, before training, and they are counted.
    read_ahead : bool, default True
        Read the next rows in a thread. False: in the thread that trains, for what must not be used by another one.

    Raises
    ------
    ValueError, TypeError
        For what has no rows, columns that are not there, other lengths, numbers below 1.

    Notes
    -----
    ``fit(model, criterion, optimizer, X, y)`` makes one of any such `X` itself. What fits into the buffer is read once and
    stays in memory. Of what is larger, labels, targets of one column and weights are read before training: mistakes in them
    show before anything is changed. Those in inputs show where they are read; the network is then as after the last finished
    step. A function is asked for no fraction to validate on, for no balanced weights and for no names of classes.

    Metrics on the training data read it once more after each epoch.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> def chunks(epoch):
    ...     for file in range(3):  # one after the other, from wherever they are
    ...         rng = np.random.default_rng(file)
    ...         X = rng.random((100, 2))
    ...         yield X, (X.sum(axis=1) > 1).astype(int)
    >>> model = fm.Sequential(fm.Linear(2, 8, rng=0), fm.ReLU(), fm.Linear(8, 2, rng=1))
    >>> data = fm.Chunks(chunks, buffer_rows=200)
    >>> history = fm.fit(model, fm.CrossEntropyLoss(), fm.Adam(model.parameters()), data, epochs=2, rng=0)
    >>> data.rows
    300
    """

    def __init__(
        self,
        X: Any,
        y: Any = None,
        sample_weight: Any = None,
        *,
        columns: Sequence[Any] | None = None,
        chunk_rows: int | None = None,
        buffer_rows: int | None = None,
        rows: int | None = None,
        read_ahead: bool = True,
    ):
        self.chunk_rows = chunk_rows if chunk_rows is None else checks.as_size(chunk_rows, "chunk_rows")
        self.buffer_rows = buffer_rows if buffer_rows is None else checks.as_size(buffer_rows, "buffer_rows")
        self.rows = rows if rows is None else checks.as_size(rows, "rows")
        self.read_ahead = checks.as_flag(read_ahead, "read_ahead")
        self._reads = threading.Lock()  # the thread that reads ahead, and that which evaluates
        self.function: Callable[..., Any] | None = None
        self.x: Source | None = None
        self.y: Source | None = None
        self.weights: Source | None = None
        if callable(X):
            for name, value in (("y", y), ("sample_weight", sample_weight), ("columns", columns)):
                if value is not None:
                    raise TypeError(f"{name} must be None: chunks of a function are pairs (X, y), or (X, y, sample_weight)")
            self.function, self._takes_epoch = X, _takes_an_argument(X)
        else:
            self._open(X, y, sample_weight, columns)

    def _open(self, X: Any, y: Any, sample_weight: Any, columns: Sequence[Any] | None) -> None:
        """Sources of all that is read by rows."""
        if y is None:
            raise TypeError("y must be the labels or targets of X, or the name of a column; got None")
        names, taken = names_of(X), []
        for what, value in (("y", y), ("sample_weight", sample_weight)):
            if isinstance(value, str):
                if names is None:
                    raise TypeError(f"{what} is {value!r}, the name of a column; the columns of X have no names")
                taken.append(value)
        if columns is not None and names is None:
            raise TypeError("columns are names of columns; those of X have none")
        inputs = [name for name in names or () if name not in taken] if columns is None else list(columns)
        missing = [name for name in [*taken, *inputs] if name not in (names or ())]
        if missing:
            raise ValueError(f"X has no column {missing[0]!r}; it has {', '.join(map(str, (names or [])[:20]))}")
        if taken or columns is not None:
            self.x = columns_of(X, inputs)
        else:
            self.x = as_source_of_any(X, "X")
        self.y = columns_of(X, [y], flat=True) if isinstance(y, str) else as_source_of_any(y, "y")
        if sample_weight is not None:
            named = isinstance(sample_weight, str)
            self.weights = (
                columns_of(X, [sample_weight], flat=True) if named else as_source_of_any(sample_weight, "sample_weight")
            )
        if len(self.x.shape) < 2 or not self.x.width:
            raise ValueError(f"X must have the shape (N, I); got {self.x.shape}")
        for source, name in ((self.y, "y"), (self.weights, "sample_weight")):
            if source is not None:
                checks.check_same_length(self.x.rows, source.rows, "X", name)
        if self.rows not in (None, self.x.rows):
            raise ValueError(f"rows is {self.rows}, but X has {self.x.rows}")
        if self.x.rows == 0:
            raise ValueError(f"X must have at least one row; it is empty, {self.x.shape}")
        self.rows = self.x.rows

    def chunks_of(self, epoch: int) -> Generator[tuple[Any, Any, Any], None, None]:
        """What the function gives for an epoch, checked to be pairs or triples."""
        assert self.function is not None
        given = self.function(epoch) if self._takes_epoch else self.function()
        try:
            chunks = iter(given)
        except TypeError:
            raise TypeError(f"a function of chunks must return an iterator over them; got {checks.shown(given)}") from None
        for number, chunk in enumerate(chunks):
            if not isinstance(chunk, (tuple, list)) or len(chunk) not in (2, 3):
                raise TypeError(f"chunk {number} must be a pair (X, y), or (X, y, sample_weight); got {checks.shown(chunk)}")
            x, y, weights = (*chunk, None)[:3]
            yield x, y, weights

    def read(self, first: int, last: int, *, targets: bool = True) -> tuple[Any, Any, Any]:
        """Rows of X, and with `targets` of y and the weights."""
        assert self.x is not None
        with self._reads:
            sources = (self.x, self.y if targets else None, self.weights if targets else None)
            x, y, weights = (None if source is None else source.read(first, last) for source in sources)
        return x, y, weights

    def buffer_for(self, width: int, itemsize: int) -> int:
        """How many rows of so many numbers are in memory together."""
        return self.buffer_rows or max(1, BUFFER_BYTES // (width * itemsize))

    def edges(self, buffer: int) -> list[int]:
        """Where chunks begin, and the end."""
        assert self.x is not None
        return self.x.edges(self.chunk_rows or max(1, buffer // CHUNKS))

    def __getstate__(self) -> dict:
        return self.__dict__ | {"_reads": None}

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(state | {"_reads": threading.Lock()})

    def __repr__(self) -> str:
        rows = "rows not counted yet" if self.rows is None else f"{self.rows:,} rows"
        return f"Chunks({rows})"


def _takes_an_argument(function: Callable[..., Any]) -> bool:
    """Whether a function is to be told the epoch."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return False
    return any(p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD) and p.default is p.empty for p in parameters)


def opened(X: Any, y: Any, sample_weight: Any, dtype: np.dtype) -> tuple[Any, Any, Any]:
    """X, y and weights as they are in memory; or Chunks and twice None, where they are to be read in pieces."""
    if isinstance(X, Chunks):
        for name, value in (("y", y), ("sample_weight", sample_weight)):
            if value is not None:
                raise TypeError(f"{name} must be None beside Chunks, which have it: fm.Chunks(X, y, sample_weight)")
        chunks = X
    elif callable(X) or isinstance(y, str) or isinstance(sample_weight, str) or as_source(X) is not None:
        chunks = Chunks(X, y, sample_weight)
    else:
        return X, y, sample_weight
    if chunks.x is None:
        return chunks, None, None
    if chunks.x.rows <= chunks.buffer_for(chunks.x.width, dtype.itemsize):
        return chunks.read(0, chunks.x.rows)
    return chunks, None, None
