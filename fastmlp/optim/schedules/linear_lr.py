"""A rate along a line: warm-up."""

from __future__ import annotations

from functools import partial
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["LinearLR"]


class LinearLR(LRScheduler):
    """A line from `start_factor` to `end_factor` times the optimizer's learning rate, over `total_iters` epochs.

    ``rate(t) = lr * (start_factor + (end_factor - start_factor) * t / total_iters)``, and that of ``t = total_iters`` from
    there on. It is the usual warm-up; :class:`SequentialLR` has something else follow.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is what the factors multiply.
    start_factor : float, default 1/3
        Above 0, at most 1.
    end_factor : float, default 1
        From 0 to 1.
    total_iters : int, default 5
        Epochs to the end of the line.

    References
    ----------
    P. Goyal et al., "Accurate, large minibatch SGD: training ImageNet in 1 hour", 2017, section 2.2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> warmup = fm.LinearLR(optimizer, start_factor=0.25, total_iters=3)
    >>> [warmup.rate(epoch) for epoch in range(5)]
    [0.125, 0.25, 0.375, 0.5, 0.5]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"start_factor": 0.9, "end_factor": 0.1, "total_iters": 8})
    _rules: ClassVar = {
        "start_factor": partial(checks.as_number, above=0.0, most=1.0),
        "end_factor": partial(checks.as_number, most=1.0),
        "total_iters": checks.as_size,
    }

    def __init__(self, optimizer: Optimizer, start_factor: float = 1 / 3, end_factor: float = 1.0, total_iters: int = 5):
        self.start_factor = start_factor
        self.end_factor = end_factor
        self.total_iters = total_iters
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        gone = min(epoch, self.total_iters) / self.total_iters
        return self.base_lr * (self.start_factor + (self.end_factor - self.start_factor) * gone)
