"""A smaller rate for the first epochs."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["ConstantLR"]


class ConstantLR(LRScheduler):
    """The optimizer's learning rate times `factor` for `total_iters` epochs, and then without it.

    ``rate(t) = lr * factor`` where ``t < total_iters``, ``lr`` from there on.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is the later one.
    factor : float, default 1/3
        From 0 to 1.
    total_iters : int, default 5
        Epochs with the factor.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.ConstantLR(optimizer, factor=0.5, total_iters=2)
    >>> [schedule.rate(epoch) for epoch in range(4)]
    [0.25, 0.25, 0.5, 0.5]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"factor": 0.1, "total_iters": 2})
    _rules: ClassVar = {"factor": partial(checks.as_number, most=1.0), "total_iters": checks.as_size}

    def __init__(self, optimizer: Optimizer, factor: float = 1 / 3, total_iters: int = 5):
        self.factor = factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        return self.base_lr * (self.factor if epoch < self.total_iters else 1)
