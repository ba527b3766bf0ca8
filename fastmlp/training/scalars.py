"""What the optimizer's formula gets in the steps that come, ahead of them."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.optim import Optimizer
from fastmlp.training.run import Rates

__all__ = ["Scalars"]

#: Steps whose scalars are computed at a time, at most. NumPy and what checks hyperparameters take 20-40 us for one step as for
#: many: two to four steps of the disc network.
AHEAD = 1024


class Scalars:
    """Rows of scalars, one for each step: kept for several calls of the engine, until something changes that they depend on.

    What is assigned in groups or to the optimizer counts from the next call on. What the schedule puts there (:meth:`agree`)
    is in the rows already.
    """

    def __init__(self, optimizer: Optimizer, rates: Rates, count: int, dtype: np.dtype):
        self.optimizer, self.rates, self._formula = optimizer, rates, optimizer._formula_now()
        self.rows = np.zeros((0, count), dtype)
        self.of_first_group = np.zeros(0)  # the learning rates
        self._first = 0  # the step of the optimizer that the first row is for
        self._groups: list[dict[str, Any]] = []  # as they were
        self._changes = -1
        schedule = rates.schedule
        self._keeps = schedule is None or not schedule.takes_metric

    def find(self, epoch: int, batch: int, steps: int, left: int) -> int:
        """The row of the next step, at a place of the run; there are as many as `steps`, of `left` that are left in all."""
        row = self.optimizer.__dict__["steps"] - self._first
        changed = self._changed()
        if not changed and 0 <= row <= len(self.rows) - steps:
            return row
        ahead = 0 if changed else min(8 * len(self.rows), AHEAD, left)
        if ahead > steps:
            try:
                self._compute(epoch, batch, ahead)
                return 0
            except Exception:  # a schedule that has no rate there: it says so when the step comes
                pass
        self._compute(epoch, batch, steps)
        return 0

    def _changed(self) -> bool:
        here = self.optimizer.__dict__
        try:
            return not self._keeps or here["_changes"] != self._changes or here["param_groups"] != self._groups
        except ValueError:  # an array among the hyperparameters, which has no place there
            return True

    def agree(self) -> None:
        """Take what is in the groups for what the rows were computed from."""
        self._groups = [dict(group) for group in self.optimizer.param_groups]

    def _compute(self, epoch: int, batch: int, steps: int) -> None:
        optimizer, self._groups = self.optimizer, []  # until all is done
        if optimizer._formula_now() != self._formula:
            raise optimizer._other_formula()
        rows, t = np.zeros((steps, self.rows.shape[1]), self.rows.dtype), np.arange(steps) + optimizer.steps + 1
        place = epoch, batch, steps
        rates = self.rates.of_steps(*place)
        optimizer._fill_scalars(rows, t, rates, self.rates.momenta_of_steps(*place))
        self.rows, self.of_first_group, self._first, self._changes = rows, rates[0], optimizer.steps, optimizer._changes
        self.agree()
