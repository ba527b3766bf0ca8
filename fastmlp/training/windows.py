"""Windows: rows of data in chunks that are in memory together, in the order in which steps are taken on them."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Iterator
from typing import NamedTuple, TypeVar

import numpy as np

from fastmlp.kernels.shuffle import epoch_order
from fastmlp.training.inputs import Rows
from fastmlp.training.pieces import Pieces

__all__ = ["Steps", "Window", "ahead", "windows"]

T = TypeVar("T")


class Steps(NamedTuple):
    """How the rows of an epoch are cut into batches."""

    batch_size: int
    batches: int
    shuffle: bool
    seed: int


class Window(NamedTuple):
    """Rows in memory that some steps of an epoch are taken on, in this order; `trained` of them, from batch `first` on.

    Or those of several whole epochs: then `order` has the orders of all, one behind the other.
    """

    rows: Rows
    order: np.ndarray
    first: int
    batches: int
    trained: int
    epoch: int | None  # None: of all epochs
    epochs: int = 1

    def holds(self, epoch: int, batch: int) -> bool:
        """Whether a batch is among them."""
        if self.epoch is None:
            return True
        return self.epoch <= epoch < self.epoch + self.epochs and batch < self.first + self.batches


class Group(NamedTuple):
    """Chunks that are in memory together: their number in the epoch, rows, whether the epoch ends with them, the rows."""

    number: int
    length: int
    last: bool
    read: Iterable[Rows]


def windows(pieces: Pieces, steps: Steps, epoch: int, batch: int, last_epoch: int) -> Iterator[Window]:
    """The windows of epochs up to `last_epoch` (left out), from a batch of the first one on."""
    for number in range(epoch, last_epoch):
        yield from _windows(pieces, steps, number, batch if number == epoch else 0)


def _windows(pieces: Pieces, steps: Steps, epoch: int, batch: int) -> Iterator[Window]:
    done, carried, groups = _groups(pieces, steps, epoch, batch)
    size = steps.batch_size
    carry = pieces.first.taken(np.zeros(carried, np.int64))  # never trained on
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


def _groups(pieces: Pieces, steps: Steps, epoch: int, batch: int) -> tuple[int, int, Iterator[Group]]:
    """The groups of an epoch, from the one on that a batch needs; the batches done before, and the rows left over there."""
    counts = pieces.counts()
    if counts is None:
        return 0, 0, _groups_given(pieces, epoch)
    order = np.arange(len(counts))
    if steps.shuffle and pieces.length > pieces.buffer:
        epoch_order(order, _seed(steps.seed, 0), epoch)
    groups: list[list[int]] = [[]]
    lengths = [0]
    for chunk in order.tolist():
        if groups[-1] and lengths[-1] + counts[chunk] > pieces.buffer:
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
            parts = (pieces.chunk(chunk) for chunk in sorted(groups[number]))
            yield Group(number, lengths[number], number == len(groups) - 1, parts)

    return (*places[begin], read())


def _groups_given(pieces: Pieces, epoch: int) -> Iterator[Group]:
    """Chunks of a function, as many together as the buffer holds."""
    number = length = 0
    group: list[Rows] = []
    for rows in pieces.given(epoch):
        if group and length + rows.length > pieces.buffer:
            yield Group(number, length, False, _taken(group))
            number, length = number + 1, 0
        group.append(rows)
        length += rows.length
    yield Group(number, length, True, _taken(group))


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
    from concurrent.futures import ThreadPoolExecutor  # 3 ms, and most runs have their data in memory

    nothing = object()
    with ThreadPoolExecutor(1, thread_name_prefix="fastmlp-reader") as pool:
        coming = pool.submit(next, items, nothing)  # type: ignore[arg-type]
        while (item := coming.result()) is not nothing:
            coming = pool.submit(next, items, nothing)  # type: ignore[arg-type]
            yield item  # type: ignore[misc]
