"""Runs that come back to Python at every step: for modules, criteria and optimizers written in Python."""

from __future__ import annotations

import time

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.kernels.scan import all_finite
from fastmlp.kernels.shuffle import epoch_order
from fastmlp.modules import Module, Sequential
from fastmlp.optim import Optimizer, clip_grad_norm_, clip_grad_value_
from fastmlp.training.data import Data
from fastmlp.training.inputs import Rows
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.run import Rates, Run
from fastmlp.training.windows import Window

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
        rates: Rates,
    ):
        super().__init__(data, first_epoch, rates)
        self.model, self.criterion, self.optimizer = model, criterion, optimizer
        if optimizer._has_formula():
            optimizer._state_of(model.storage)  # there before the first step, to go back to
        held = set(map(id, optimizer.params))
        self._trained = [parameter for parameter in model.parameters() if id(parameter) in held]
        self._terms = int(criterion.reduction != "sum")

    def advance(self, last_epoch: int, most: int | None = None) -> None:
        deadline, left = time.perf_counter() + SLICE_SECONDS, most
        while self.epoch < last_epoch and not self.failed and left != 0:
            left = None if left is None else left - 1
            began = time.perf_counter()
            window = self.window()
            if self.data.shuffle and self.batch == 0 and window.epoch is None:
                epoch_order(window.order, self.data.seed, self.epoch)
            self._step(window, began)
            if time.perf_counter() > deadline:
                return

    def _step(self, window: Window, began: float) -> None:
        first = (self.batch - window.first) * self.data.batch_size
        rows = window.order[first : min(first + self.data.batch_size, window.trained)]
        place = self.epoch, self.batch, 1
        rates, momenta = self.rates.of_steps(*place), self.rates.momenta_of_steps(*place)
        for i, group in enumerate(self.optimizer.param_groups):
            group["lr"] = rates[i].item()
            if momenta is not None:
                group.update(self.optimizer._with_momentum(group, momenta[i].item()))
        # All goes back where a step isn't finished: statistics of batches and counts that the pass forward has changed, too.
        arrays = [self.model.storage.data, *(array for _, array in self.optimizer._arrays.values())]
        before, counts = [array.copy() for array in arrays], self._counts()
        steps, done = self.optimizer.steps, False
        try:
            loss, share = self._add_up(window.rows, rows)
            if np.isfinite(loss):
                if self.data.clip_norm is not None:
                    clip_grad_norm_(self._trained, self.data.clip_norm)
                if self.data.clip_value is not None:
                    clip_grad_value_(self._trained, self.data.clip_value)
                with interrupts_held():
                    self.optimizer.step()
                    self.optimizer.steps = steps + 1  # a step() of the user's own need not count
                    if all_finite(self.model.storage.data):
                        sums, totals = [self._partial + loss], [self._partial_total + share]
                        self._count(1, sums, totals, rates=rates[0], seconds=time.perf_counter() - began)
                        done = True
        finally:
            if not done:
                for array, values in zip(arrays, before):
                    array[:] = values
                for module, name, count in counts:
                    module.__dict__[name] = count
                self.optimizer.steps = steps
        self.failed = not done

    def _add_up(self, given: Rows, rows: np.ndarray) -> tuple[float, float]:
        """Add up the gradients of a step, over its micro-batches; the sum of the losses, and what it is divided by.

        A mean is divided by what counts in its own rows, and only with the last of them is it known what counts in all: so each
        delta is multiplied by its share, and the gradients are divided by the sum of the shares.
        """
        size = self.data.microbatch
        several, total, shares = len(rows) > size, 0.0, 0.0
        for first in range(0, len(rows), size):
            x, y, weights = given.taken(rows[first : first + size])
            out = self.model(x)
            loss = checks.as_loss(self.criterion(out, y, *(() if weights is None else (weights,))), self.criterion)
            share = self.criterion._share(len(x), weights)
            if not share:  # no row counts: there is nothing to learn from them
                loss = 0.0
            total, shares = total + loss * share, shares + share
            if not np.isfinite(loss):
                return loss, shares
            if first == 0:
                self.optimizer.zero_grad()
            if several and not share:
                continue
            delta = checks.as_returned(self.criterion.backward(), out.shape, out.dtype, self.criterion, "backward")
            self.model.backward(delta * out.dtype.type(share) if several and self._terms else delta)
        if several and self._terms and shares:
            for parameter in self._trained:
                parameter.grad_matrix /= parameter.dtype.type(shares)
        return total, shares

    def _counts(self) -> list[tuple[Module, str, int]]:
        """What the modules count, or draw from."""
        return [(module, name, getattr(module, name)) for _, module, name in self.model._named_counts()]
