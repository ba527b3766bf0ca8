"""A run in progress: how far it is, and the losses of the epochs it has finished."""

from __future__ import annotations

from collections.abc import Callable

from fastmlp.training.data import Data

__all__ = ["Run"]


class Run:
    """The place of a training run: `epoch` and `batch` come next, `losses` are those of the epochs finished.

    A subclass gives :meth:`advance`. `rate` is the learning rate of an epoch.
    """

    def __init__(self, data: Data, first_epoch: int, rate: Callable[[int], float]):
        self.data, self.rate = data, rate
        self.epoch, self.batch = first_epoch, 0
        self.losses: list[float] = []
        self.failed = False  # the step that comes next has a loss that is not finite
        self._partial = 0.0  # sum of the losses of the rows of this epoch so far
        self._terms = 1  # that the loss of a row is the mean of

    def advance(self, last_epoch: int) -> None:
        """Train for a while, at most up to the end of epoch `last_epoch` - 1."""
        raise NotImplementedError

    def _count(self, steps: int, sums: list[float]) -> None:
        """Note that `steps` steps are done; `sums` are the summed losses of each epoch touched, from its first row on."""
        if steps == 0:
            return
        total = self.batch + steps
        finished, self.batch = divmod(total, self.data.batches)
        self.epoch += finished
        self.losses += [loss / (self.data.rows * self._terms) for loss in sums[:finished]]
        self._partial = sums[finished] if finished < len(sums) else 0.0
