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
from fastmlp.training.interrupts import interrupts_held
from fastmlp.training.pieces import Window
from fastmlp.training.run import Rates, Run

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
        x, y, weights = window.rows.taken(window.order[first : min(first + self.data.batch_size, window.trained)])
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
            out = self.model(x)
            given = () if weights is None else (weights,)
            loss = checks.as_loss(self.criterion(out, y, *given), self.criterion)
            share = self.criterion._share(len(x), weights)
            if not share:  # no row of the batch counts: there is nothing to learn from it
                loss = 0.0
            if np.isfinite(loss):
                self.optimizer.zero_grad()
                delta = checks.as_returned(self.criterion.backward(), out.shape, out.dtype, self.criterion, "backward")
                self.model.backward(delta)
                if self.data.clip_norm is not None:
                    clip_grad_norm_(self._trained, self.data.clip_norm)
                if self.data.clip_value is not None:
                    clip_grad_value_(self._trained, self.data.clip_value)
                with interrupts_held():
                    self.optimizer.step()
                    if all_finite(self.model.storage.data):
                        sums, totals = [self._partial + loss * share], [self._partial_total + share]
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

    def _counts(self) -> list[tuple[Module, str, int]]:
        """What the modules count, or draw from."""
        return [(module, name, getattr(module, name)) for _, module, name in self.model._named_counts()]
