"""A rate that falls to 0 by a power of the epochs left."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["PolynomialLR"]


class PolynomialLR(LRScheduler):
    """The optimizer's learning rate down to 0 over `total_iters` epochs, by a power of what is left of them.

    ``rate(t) = lr * (1 - t / total_iters) ** power``, and that of ``t = total_iters`` from there on.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is that of epoch 0.
    total_iters : int, default 5
        Epochs to the end.
    power : float, default 1
        At least 0; 1 is a line.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.PolynomialLR(optimizer, total_iters=4, power=2)
    >>> [schedule.rate(epoch) for epoch in range(6)]
    [0.5, 0.28125, 0.125, 0.03125, 0.0, 0.0]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"total_iters": 12, "power": 2.0})
    _rules: ClassVar = {"total_iters": checks.as_size, "power": checks.as_number}

    def __init__(self, optimizer: Optimizer, total_iters: int = 5, power: float = 1.0):
        self.total_iters = total_iters
        self.power = power
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        return self.base_lr * (1 - min(epoch, self.total_iters) / self.total_iters) ** self.power
