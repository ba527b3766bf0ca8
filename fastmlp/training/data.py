"""What a run trains on, after the border."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass

import numpy as np

from fastmlp.training.inputs import Rows
from fastmlp.training.pieces import Pieces
from fastmlp.training.windows import Steps, Window, ahead, windows

__all__ = ["Data"]


@dataclass
class Data:
    """Rows, in memory or in pieces, and how they are cut into batches: what a step of the optimizer is taken on."""

    given: Rows | Pieces
    batch_size: int
    microbatch: int  # rows that are worked on at a time, as many or fewer
    batches: int  # in an epoch
    rows: int  # of an epoch that are trained on
    shuffle: bool
    seed: int
    last_epoch: int  # behind the last
    clip_norm: float | None = None
    clip_value: float | None = None

    @property
    def smallest(self) -> int:
        """Rows of the smallest micro-batch."""
        return self.rows % self.microbatch or self.microbatch

    @property
    def together(self) -> bool:
        """Whether all gradients of a step are to be there before any is applied."""
        return self.microbatch < self.batch_size or self.clip_norm is not None or self.clip_value is not None

    @property
    def whole(self) -> bool:
        """Whether all rows are in memory."""
        return isinstance(self.given, Rows)

    def key(self, epoch: int) -> tuple[int, ...]:
        """What an epoch that was broken off must have in common with this one to go on."""
        return epoch, self.seed, self.given.length, self.rows, self.batch_size, self.given.layout(self.shuffle)

    def windows(self, epoch: int, batch: int) -> Generator[Window, None, None]:
        """What steps are taken on, from a batch of an epoch on: one window for all, where all rows are in memory."""
        if isinstance(self.given, Rows):
            yield Window(self.given, np.arange(self.given.length), 0, self.batches, self.rows, None)
            return
        steps = Steps(self.batch_size, self.batches, self.shuffle, self.seed)
        coming = windows(self.given, steps, epoch, batch, self.last_epoch)
        yield from ahead(coming) if self.given.chunks.read_ahead else coming
