"""A rate that falls by a factor every so many epochs."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["StepLR"]


class StepLR(LRScheduler):
    """The optimizer's learning rate times `gamma` after every `step_size` epochs.

    ``rate(t) = lr * gamma ** (t // step_size)``

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is that of epoch 0.
    step_size : int
        Epochs between two falls.
    gamma : float, default 0.1
        The factor, at least 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.StepLR(optimizer, step_size=30, gamma=0.5)
    >>> [schedule.rate(epoch) for epoch in (0, 29, 30, 60)]
    [0.5, 0.5, 0.25, 0.125]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"step_size": 5}, {"step_size": 3, "gamma": 0.75})
    _rules: ClassVar = {"step_size": checks.as_size, "gamma": checks.as_number}

    def __init__(self, optimizer: Optimizer, step_size: int, gamma: float = 0.1):
        self.step_size = step_size
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        return self.base_lr * self.gamma ** (epoch // self.step_size)
