"""A rate that falls by a factor each epoch."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["ExponentialLR"]


class ExponentialLR(LRScheduler):
    """The optimizer's learning rate times `gamma` after each epoch.

    ``rate(t) = lr * gamma ** t``

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is that of epoch 0.
    gamma : float
        The factor, at least 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.ExponentialLR(optimizer, gamma=0.5)
    >>> [schedule.rate(epoch) for epoch in range(4)]
    [0.5, 0.25, 0.125, 0.0625]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"gamma": 0.95},)
    _rules: ClassVar = {"gamma": checks.as_number}

    def __init__(self, optimizer: Optimizer, gamma: float):
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        return self.base_lr * self.gamma**epoch
