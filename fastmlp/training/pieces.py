"""Data in chunks, checked as it is read, and cut into windows that steps are taken on."""

from __future__ import annotations

import copy
import zlib
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any, NamedTuple, TypeVar

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.kernels.shuffle import epoch_order
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

__all__ = ["Pieces", "Steps", "Window", "ahead", "as_rows_or_pieces"]

T = TypeVar("T")

#: Labels that are read, and checked, at a time, before training.
BLOCK = 2**20

#: Rows by which the shapes and dtypes of all are known.
SAMPLE = 1000


class Steps(NamedTuple):
    """How the rows of an epoch are cut into batches."""

    batch_size: int
    batches: int
    shuffle: bool
    seed: int


class Window(NamedTuple):
    """Rows in memory that some steps of an epoch are taken on, in this order; `trained` of them, from batch `first` on."""

    rows: Rows
    order: np.ndarray
    first: int
    batches: int
    trained: int
    epoch: int | None  # None: of all epochs

    def holds(self, epoch: int, batch: int) -> bool:
        """Whether a batch is among them."""
        return self.epoch is None or (epoch == self.epoch and batch < self.first + self.batches)


class Group(NamedTuple):
    """Chunks that are in memory together: their number in the epoch, rows, whether the epoch ends with them, the rows."""

    number: int
    length: int
    last: bool
    read: Iterable[Rows]


class Pieces:
    """The rows of `Chunks` for one network and criterion: checked where they are read, labels before; as :class:`Rows` has it.

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
        self.chunks, self.criterion, self.classes, self._where = chunks, criterion, classes, where
        self._numbers: np.ndarray | None = None  # how much each class counts
        self._kept: np.ndarray | None = None  # which rows these are, where they are not all
        self._y: np.ndarray | None = None  # labels or targets, and weights, where all of them are in memory
        self._weights: np.ndarray | None = None
        self._edges: list[int] = []  # where chunks begin, and the end; of a function nobody knows
        self.weighted = False

        def check(x: Any, y: Any, weights: Any, name: str) -> Rows:
            names = self.classes if self._y is None else None
            return check_data(model, criterion, x, y, weights, f"{name}{where}", finite, owner, names, counted=False)

        self._check: Callable[[Any, Any, Any, str], Rows] = check
        if chunks.function is None:
            assert chunks.x is not None
            self.length = chunks.x.rows
            self._read_targets(model, finite, new)
            self._buffer = chunks.buffer_for(int(np.prod(chunks.x.shape[1:])), model.dtype.itemsize)
            self._edges = chunks.edges(self._buffer)
            sample = min(SAMPLE, self._edges[1])
            x, y, weights = chunks.read(0, sample, targets=self._y is None)
            self.first = self._checked(x, y, weights, 0, sample)
        else:
            with closing(chunks.chunks_of(0)) as given:
                chunk = next(given, None)
                if chunk is None:
                    raise ValueError("the function of chunks gives none")
                x, y, weights = chunk
                self.first = self._check(x, y, weights, "chunk 0 of ")
                if chunks.rows is None:
                    chunks.rows = self.first.length + sum(len(checks.arrays.as_array(x, "X")) for x, _, _ in given)
            self.length = chunks.rows
            self.weighted = self.first.weights is not None
            self._buffer = chunks.buffer_for(self.first.x.shape[1], model.dtype.itemsize)

    def _read_targets(self, model: Sequential, finite: bool, new: bool) -> None:
        """Labels, or targets of one column, and weights: all of them, checked, before anything is trained."""
        chunks, criterion = self.chunks, self.criterion
        assert chunks.x is not None
        assert chunks.y is not None
        name, dtype = f"{self._where}y", model.dtype
        given = None
        if chunks.weights is not None:
            parts = [chunks.weights.read(first, last) for first, last in _blocks(self.length)]
            given = checks.as_weights(np.concatenate(parts), dtype, self.length, f"{self._where}sample_weight")
            check_counts(given, f"{self._where}X")
        self._weights, self.weighted = given, given is not None
        width = model._width_out(int(np.prod(chunks.x.shape[1:])))
        narrow = len(chunks.y.shape) == 1 or chunks.y.shape[1:] == (1,)
        if not (criterion.runs_in_engine() and width is not None and narrow):
            return
        y = None
        if self.classes is None and new and "labels" in criterion.targets:
            self.classes = self._names(model)
        for first, last in _blocks(self.length):
            block = chunks.y.read(first, last)
            if self.classes is not None:
                block = numbered(criterion, block, self.classes, width, name)
            block = criterion._check_targets(block, width, dtype, last - first, name, finite=finite)
            own = None if given is None else given[first:last]
            weights = criterion._check_weights(own, block, dtype, name)
            if y is None:  # int32: a label is kept in less than the kernels take
                y = np.empty((self.length, *block.shape[1:]), np.int32 if block.ndim == 1 else dtype)
            y[first:last] = block
            if weights is not None and weights is not own:  # ignored rows
                if self._weights is None or self._weights is given:
                    self._weights = np.ones(self.length, dtype) if given is None else given.copy()
                    self.weighted = True
                self._weights[first:last] = weights
        self._y = y

    def _names(self, model: Sequential) -> np.ndarray | None:
        """The names of the classes, where labels are text."""
        assert self.chunks.y is not None
        names: np.ndarray | None = None
        for first, last in _blocks(self.length):
            found = classes_of(model, self.criterion, self.chunks.y.read(first, last))
            if found is None:
                return None
            names = found if names is None else np.union1d(names, found)
        return names

    # As Rows has it.

    def pieces(self) -> Iterator[Rows]:
        """All rows, checked, chunk by chunk."""
        if self.chunks.function is not None:
            yield from self._given(0)
        else:
            for chunk in range(len(self._edges) - 1):
                rows = self._chunk(chunk)
                if rows.length:
                    yield rows

    def split(self, fraction: float, seed: int, criterion: Criterion) -> tuple[Pieces, Pieces]:
        """Rows to train on, and a fraction of them that is held out."""
        if self.chunks.function is not None:
            raise ValueError(
                "validation is a fraction, but what comes from a function has no rows to choose from: give data of its own, "
                "validation=(X, y) or fm.Chunks"
            )
        y = self.first.y if self._y is None else self._y
        held = held_out(y, self.length, fraction, seed, criterion)
        return self._only(~held), self._only(held)

    def _only(self, rows: np.ndarray) -> Pieces:
        part = copy.copy(self)
        part._kept, part.length = rows, int(np.count_nonzero(rows))
        part.first = self.first
        return part

    def with_class_weight(self, weight: Any, criterion: Criterion, classes: int | None) -> Pieces:
        """The same rows, each weighted by its class, too."""
        part = copy.copy(self)
        if self._y is not None:
            counts = class_counts(self._y if self._kept is None else self._y[self._kept], criterion)
        else:
            counts = class_counts(self.first.y, criterion)
            if isinstance(weight, str):
                raise ValueError(f"class_weight={weight!r} is for data that is not a function: give a number for each class")
        part._numbers, part.weighted = class_numbers(weight, counts, classes), True
        return part

    # Chunks.

    def _checked(self, x: Any, y: Any, weights: Any, first: int, last: int) -> Rows:
        """Rows `first` to `last` (left out) as the kernels take them."""
        own = y if self._y is None else self._y[first:last]
        given = weights if self._weights is None else self._weights[first:last]
        kept = None if self._kept is None else self._kept[first:last]
        if kept is not None and not kept.all():
            if not kept.any():
                return self.first.taken(slice(0))
            x, own = checks.arrays.as_array(x, "X")[kept], checks.arrays.as_array(own, "y")[kept]
            given = None if given is None else given[kept]
        names = f"rows {first} to {last - 1}" if last - first > 1 else f"row {first}"
        return self._as_all(self._check(x, own, given, f"{names} of "))

    def _as_all(self, rows: Rows) -> Rows:
        """With weights, if all rows have them."""
        if self._numbers is not None:
            rows = weighted_by_class(rows, self._numbers, self.criterion)
        if self.weighted and rows.weights is None:
            return rows._replace(weights=np.ones(rows.length, rows.x.dtype))
        return rows

    def _chunk(self, number: int) -> Rows:
        first, last = self._edges[number], self._edges[number + 1]
        return self._checked(*self.chunks.read(first, last, targets=self._y is None), first, last)

    def _given(self, epoch: int) -> Iterator[Rows]:
        """What the function gives for an epoch."""
        count = 0
        for number, (x, y, weights) in enumerate(self.chunks.chunks_of(epoch)):
            rows = self._as_all(self._check(x, y, weights, f"chunk {number} of "))
            if rows.weights is not None and not self.weighted:
                raise ValueError(
                    f"chunk {number} has rows that are weighted or ignored, but chunk 0 has none: give all chunks a "
                    "sample_weight, (X, y, sample_weight)"
                )
            count += rows.length
            yield rows
        if count != self.length:
            raise ValueError(f"the function of chunks gave {count} rows for epoch {epoch}; {self.length} were expected")

    # Windows.

    def layout(self, shuffle: bool) -> int:
        """A number that two runs have in common if their rows come in the same order."""
        if not shuffle:
            return 0
        if self.chunks.function is None and self.length <= self._buffer:
            return 1  # as in memory
        return 2 + zlib.crc32(repr((self._buffer, self._edges)).encode())

    def windows(self, steps: Steps, epoch: int, batch: int, last_epoch: int) -> Iterator[Window]:
        """The windows of epochs up to `last_epoch` (left out), from a batch of the first one on."""
        for number in range(epoch, last_epoch):
            yield from self._windows(steps, number, batch if number == epoch else 0)

    def _windows(self, steps: Steps, epoch: int, batch: int) -> Iterator[Window]:
        done, carried, groups = self._groups(steps, epoch, batch)
        size = steps.batch_size
        carry = self._as_all(self.first).taken(np.zeros(carried, np.int64))  # never trained on
        for group in groups:
            rows = _joined(carry, group)
            order = np.arange(rows.length)
            if steps.shuffle:
                own = np.arange(group.length)
                epoch_order(own, steps.seed if group.number == 0 else _seed(steps.seed, group.number), epoch)
                order[carry.length :] = carry.length + own
            batches = steps.batches - done if group.last else rows.length // size
            if batches and done + batches > batch:
                yield Window(rows, order, done, batches, min(batches * size, rows.length), epoch)
            done += batches
            carry = rows.taken(order[batches * size :])

    def _groups(self, steps: Steps, epoch: int, batch: int) -> tuple[int, int, Iterator[Group]]:
        """The groups of an epoch, from the one on that a batch needs; the batches done before, and the rows left over there."""
        if self.chunks.function is not None:
            return 0, 0, self._groups_given(epoch)
        counts = np.diff(self._edges)
        if self._kept is not None:
            counts = np.add.reduceat(self._kept, self._edges[:-1], dtype=np.int64)
        order = np.arange(len(counts))
        if steps.shuffle and self.length > self._buffer:
            epoch_order(order, _seed(steps.seed, 0), epoch)
        groups: list[list[int]] = [[]]
        lengths = [0]
        for chunk in order.tolist():
            if groups[-1] and lengths[-1] + counts[chunk] > self._buffer:
                groups.append([])
                lengths.append(0)
            groups[-1].append(chunk)
            lengths[-1] += int(counts[chunk])
        places, done, carry = [], 0, 0
        for length in lengths:
            places.append((done, carry))
            batches, carry = divmod(carry + length, steps.batch_size)
            done += batches
        begin = max(number for number, (done, _) in enumerate(places) if done <= batch)
        # The rows left over from the group before are the last ones of its order, whatever it began with.
        if begin and places[begin][1]:
            begin = begin - 1 if lengths[begin - 1] >= places[begin][1] else 0

        def read() -> Iterator[Group]:
            for number in range(begin, len(groups)):
                parts = (self._chunk(chunk) for chunk in sorted(groups[number]))
                yield Group(number, lengths[number], number == len(groups) - 1, parts)

        return (*places[begin], read())

    def _groups_given(self, epoch: int) -> Iterator[Group]:
        """Chunks of a function, as many together as the buffer holds."""
        number = length = 0
        group: list[Rows] = []
        for rows in self._given(epoch):
            if group and length + rows.length > self._buffer:
                yield Group(number, length, False, _taken(group))
                number, length = number + 1, 0
            group.append(rows)
            length += rows.length
        yield Group(number, length, True, _taken(group))


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


def _seed(seed: int, number: int) -> int:
    """A seed of its own for each window of an epoch."""
    return int(np.random.SeedSequence([seed, number]).generate_state(1, np.uint64)[0] >> np.uint64(2))


def _taken(parts: list[Rows]) -> Iterator[Rows]:
    """The entries of a list, which loses them: their memory is free as soon as they have been copied."""
    while parts:
        yield parts.pop(0)


def _joined(carry: Rows, group: Group) -> Rows:
    """Rows that were left over, and those of a group, in one piece of memory."""
    length, place = carry.length + group.length, carry.length
    result = Rows(*(None if a is None else np.empty((length, *a.shape[1:]), a.dtype) for a in carry))  # type: ignore[arg-type]
    for target, source in zip(result, carry):
        if target is not None:
            target[:place] = source
    for part in group.read:
        for target, source in zip(result, part):
            if target is not None:
                target[place : place + part.length] = source
        place += part.length
    return result


def ahead(items: Iterator[T]) -> Generator[T, None, None]:
    """The same items, each of which a thread makes while the one before is in use."""
    nothing = object()
    with ThreadPoolExecutor(1, thread_name_prefix="fastmlp-reader") as pool:
        coming = pool.submit(next, items, nothing)  # type: ignore[arg-type]
        while (item := coming.result()) is not nothing:
            coming = pool.submit(next, items, nothing)  # type: ignore[arg-type]
            yield item  # type: ignore[misc]
