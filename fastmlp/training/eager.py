"""Runs that come back to Python at every step: for modules, criteria and optimizers written in Python."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np

from fastmlp.criterion import Criterion
from fastmlp.kernels.scan import all_finite
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.modules import Sequential
from fastmlp.optim import Optimizer
from fastmlp.training.data import Data
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.run import Run

__all__ = ["EagerRun"]

#: How long :meth:`EagerRun.advance` goes on before the progress bar moves.
SLICE_SECONDS = 0.1


class EagerRun(Run):
    """A run whose steps are those of a hand-written loop."""

    def __init__(
        self,
        model: Sequential,
        criterion: Criterion,
        optimizer: Optimizer,
        data: Data,
        first_epoch: int,
        rate: Callable[[int], float],
    ):
        super().__init__(data, first_epoch, rate)
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        self.order = np.arange(len(data.x))

    def advance(self, last_epoch: int) -> None:
        deadline = time.perf_counter() + SLICE_SECONDS
        while self.epoch < last_epoch and not self.failed:
            if self.data.shuffle and self.batch == 0:
                epoch_order(self.order, self.data.seed, self.epoch)
            self._step()
            if time.perf_counter() > deadline:
                return

    def _step(self) -> None:
        first = self.batch * self.data.batch_size
        rows = self.order[first : min(first + self.data.batch_size, self.data.rows)]
        self.optimizer.lr = self.rate(self.epoch)
        loss = self.criterion(self.model(self.data.x[rows]), self.data.y[rows])
        if not np.isfinite(loss):
            self.failed = True
            return
        self.optimizer.zero_grad()
        self.model.backward(self.criterion.backward())
        storage = self.model.storage
        before = storage.data.copy()
        with interrupts_held():
            try:
                self.optimizer.step()
            except BaseException:
                storage.data[:] = before
                raise
            if all_finite(storage.data):
                self._count(1, [self._partial + loss * len(rows)])
            else:
                storage.data[:] = before
                self.failed = True
