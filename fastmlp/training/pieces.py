"""Data in chunks for one network and criterion: checked as it is read, labels before anything is trained."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Iterator
from contextlib import closing
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.checks.arrays import as_array
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.training.chunks import Chunks, opened
from fastmlp.training.inputs import (
    Rows,
    check_counts,
    check_data,
    class_counts,
    class_numbers,
    classes_of,
    held_out,
    numbered,
    weighted_by_class,
)

__all__ = ["Pieces", "as_rows_or_pieces"]

#: Labels that are read, and checked, at a time, before training.
BLOCK = 2**20

#: Rows by which the shapes and dtypes of all are known.
SAMPLE = 1000


class Pieces:
    """The rows of `Chunks`, as :class:`Rows` has rows that are in memory.

    `where` stands before their names in messages, `owner` is what asks for them, `classes` are the names of the classes; with
    `new`, labels that are text may name them.
    """

    def __init__(
        self,
        chunks: Chunks,
        model: Sequential,
        criterion: Criterion,
        where: str,
        finite: bool,
        owner: str,
        classes: np.ndarray | None,
        *,
        new: bool,
    ):
        self.chunks, self.model, self.criterion, self.classes = chunks, model, criterion, classes
        self._where, self._finite, self._owner = where, finite, owner
        self._numbers: np.ndarray | None = None  # how much each class counts
        self._kept: np.ndarray | None = None  # which rows these are, where they are not all
        self._y: np.ndarray | None = None  # labels or targets, and weights, where all of them are in memory
        self._weights: np.ndarray | None = None
        self._edges: list[int] = []  # where chunks begin, and the end; of a function nobody knows
        self.weighted = False
        if chunks.function is None:
            assert chunks.x is not None
            self.length = chunks.x.rows
            self._read_targets(new)
            self.buffer = chunks.buffer_for(chunks.x.width, model.dtype.itemsize)
            self._edges = chunks.edges(self.buffer)
            sample = min(SAMPLE, self._edges[1])
            self._first = self._checked(*chunks.read(0, sample, targets=self._y is None), 0, sample)
        else:
            with closing(chunks.chunks_of(0)) as given:
                chunk = next(given, None)
                if chunk is None:
                    raise ValueError("the function of chunks gives none")
                self._first = self._check(*chunk, "chunk 0 of ")
                if chunks.rows is None:
                    chunks.rows = self._first.length + sum(len(as_array(x, "X")) for x, _, _ in given)
            self.length = chunks.rows
            self.weighted = self._first.weighted
            self.buffer = chunks.buffer_for(self._first.x.shape[1], model.dtype.itemsize)

    def _read_targets(self, new: bool) -> None:
        """Labels, or targets of one column, and weights: all of them, checked, before anything is trained."""
        chunks, criterion, dtype, name = self.chunks, self.criterion, self.model.dtype, f"{self._where}y"
        assert chunks.x is not None
        assert chunks.y is not None
        given = None
        if chunks.weights is not None:
            parts = [chunks.weights.read(first, last) for first, last in _blocks(self.length)]
            given = checks.as_weights(np.concatenate(parts), dtype, self.length, f"{self._where}sample_weight")
            check_counts(given, f"{self._where}X")
        self._weights, self.weighted = given, given is not None
        if len(chunks.y.shape) > 1 and chunks.y.width > 1:
            return
        if self.classes is None and new and "labels" in criterion.targets:
            self.classes = self._names()
        width = self.model._width_out(chunks.x.width)
        blocks = []
        for first, last in _blocks(self.length):
            block = chunks.y.read(first, last)
            if self.classes is not None:
                block = numbered(criterion, block, self.classes, width, name)
            if criterion.runs_in_engine() and width is not None:
                block = criterion._check_targets(block, width, dtype, last - first, name, finite=self._finite)
                own = None if given is None else given[first:last]
                weights = criterion._check_weights(own, block, dtype, name)
                if weights is not None and weights is not own:  # ignored rows
                    if self._weights is None or self._weights is given:
                        self._weights = np.ones(self.length, dtype) if given is None else given.copy()
                        self.weighted = True
                    self._weights[first:last] = weights
                block = block.astype(np.int32) if block.ndim == 1 else block  # a label is kept in less than the kernels take
            blocks.append(as_array(block, name))
        self._y = np.concatenate(blocks)

    def _names(self) -> np.ndarray | None:
        """The names of the classes, where labels are text."""
        assert self.chunks.y is not None
        names: np.ndarray | None = None
        for first, last in _blocks(self.length):
            found = classes_of(self.model, self.criterion, self.chunks.y.read(first, last))
            if found is None:
                return None
            names = found if names is None else np.union1d(names, found)
        return names

    # As Rows has it.

    @property
    def first(self) -> Rows:
        """Some of the rows."""
        return self._as_all(self._first)

    def layout(self, shuffle: bool) -> int:
        """A number that two runs have in common if their rows come in the same order."""
        if not shuffle:
            return 0
        if self.chunks.function is None and self.length <= self.buffer:
            return 1  # as in memory
        return 2 + zlib.crc32(repr((self.buffer, self._edges)).encode())

    def pieces(self) -> Iterator[Rows]:
        """All rows, checked, chunk by chunk."""
        if self.chunks.function is not None:
            yield from self.given(0)
        else:
            for number in range(len(self._edges) - 1):
                rows = self.chunk(number)
                if rows.length:
                    yield rows

    def split(self, fraction: float, seed: int, criterion: Criterion) -> tuple[Pieces, Pieces]:
        """Rows to train on, and a fraction of them that is held out."""
        if self.chunks.function is not None:
            raise ValueError(
                "validation is a fraction, but what comes from a function has no rows to choose from: give data of its own, "
                "validation=(X, y) or fm.Chunks"
            )
        y = self._first.y if self._y is None else self._y  # several columns, by which nothing is held out
        held = held_out(y, self.length, fraction, seed, criterion)
        return self._only(~held), self._only(held)

    def _only(self, rows: np.ndarray) -> Pieces:
        part = copy.copy(self)
        part._kept, part.length = rows, int(np.count_nonzero(rows))
        return part

    def with_class_weight(self, weight: Any, criterion: Criterion, classes: int | None) -> Pieces:
        """The same rows, each weighted by its class, too."""
        part, y = copy.copy(self), self._first.y if self._y is None else self._y
        counts = class_counts(y if self._kept is None or self._y is None else y[self._kept], criterion)
        if isinstance(weight, str) and self._y is None:
            raise ValueError(f"class_weight={weight!r} is for data that is not a function: give a number for each class")
        part._numbers, part.weighted = class_numbers(weight, counts, classes), True
        return part

    # Chunks.

    def counts(self) -> np.ndarray | None:
        """How many rows each chunk has; None where a function gives them."""
        if self.chunks.function is not None:
            return None
        return np.diff(self._edges) if self._kept is None else np.add.reduceat(self._kept, self._edges[:-1], dtype=np.int64)

    def chunk(self, number: int) -> Rows:
        """A chunk, checked."""
        first, last = self._edges[number], self._edges[number + 1]
        return self._checked(*self.chunks.read(first, last, targets=self._y is None), first, last)

    def given(self, epoch: int) -> Iterator[Rows]:
        """The chunks that the function gives for an epoch, checked."""
        count = 0
        for number, chunk in enumerate(self.chunks.chunks_of(epoch)):
            rows = self._as_all(self._check(*chunk, f"chunk {number} of "))
            if rows.weighted and not self.weighted:
                raise ValueError(
                    f"chunk {number} has rows that are weighted or ignored, but chunk 0 has none: give all chunks a "
                    "sample_weight, (X, y, sample_weight)"
                )
            count += rows.length
            yield rows
        if count != self.length:
            raise ValueError(f"the function of chunks gave {count} rows for epoch {epoch}; {self.length} were expected")

    def _checked(self, x: Any, y: Any, weights: Any, first: int, last: int) -> Rows:
        """Rows `first` to `last` (left out) as the kernels take them."""
        own = y if self._y is None else self._y[first:last]
        given = weights if self._weights is None else self._weights[first:last]
        kept = None if self._kept is None else self._kept[first:last]
        if kept is not None and not kept.all():
            if not kept.any():
                return self.first.taken(slice(0))
            x, own = as_array(x, "X")[kept], as_array(own, "y")[kept]
            given = None if given is None else given[kept]
        names = f"rows {first} to {last - 1}" if last - first > 1 else f"row {first}"
        return self._as_all(self._check(x, own, given, f"{names} of "))

    def _check(self, x: Any, y: Any, weights: Any, name: str) -> Rows:
        classes = self.classes if self._y is None else None
        where = f"{name}{self._where}"
        return check_data(self.model, self.criterion, x, y, weights, where, self._finite, self._owner, classes, counted=False)

    def _as_all(self, rows: Rows) -> Rows:
        """With weights, if all rows have them."""
        if self._numbers is not None:
            rows = weighted_by_class(rows, self._numbers, self.criterion)
        if self.weighted and not rows.weighted:
            return rows._replace(weights=np.ones(rows.length, rows.x.dtype))
        return rows


def as_rows_or_pieces(
    model: Sequential,
    criterion: Criterion,
    X: Any,
    y: Any,
    sample_weight: Any,
    *,
    where: str = "",
    finite: bool = True,
    owner: str = "fit",
    classes: np.ndarray | None = None,
    new: bool = False,
) -> tuple[Rows | Pieces, np.ndarray | None]:
    """Data after the border, in memory or to be read in pieces, and the names of the classes.

    With `new`, labels that are text may name them.
    """
    X, y, sample_weight = opened(X, y, sample_weight, model.dtype)
    if isinstance(X, Chunks):
        pieces = Pieces(X, model, criterion, where, finite, owner, classes, new=new)
        return pieces, pieces.classes
    if new and classes is None:
        classes = classes_of(model, criterion, y)
    return check_data(model, criterion, X, y, sample_weight, where, finite, owner, classes), classes


def _blocks(rows: int) -> Iterator[tuple[int, int]]:
    """Ranges of rows that are read at a time before training."""
    for first in range(0, rows, BLOCK):
        yield first, min(first + BLOCK, rows)
