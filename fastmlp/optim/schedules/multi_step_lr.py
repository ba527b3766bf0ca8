"""A rate that falls by a factor at given epochs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["MultiStepLR"]


def as_milestones(values: Any, name: str) -> list[int]:
    """Epochs in order."""
    if not isinstance(values, Iterable):
        raise TypeError(f"{name} must be a list of whole numbers; got {checks.shown(values)}")
    return sorted(checks.as_size(value, f"each of {name}", least=0) for value in values)


class MultiStepLR(LRScheduler):
    """The optimizer's learning rate times `gamma` at each of the `milestones`.

    ``rate(t) = lr * gamma ** k``, where k milestones are at most t; one that is listed twice counts twice.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is that of epoch 0.
    milestones : iterable of int
        Epochs, each at least 0, in any order.
    gamma : float, default 0.1
        The factor, at least 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.MultiStepLR(optimizer, milestones=[30, 80], gamma=0.5)
    >>> [schedule.rate(epoch) for epoch in (0, 29, 30, 79, 80)]
    [0.5, 0.5, 0.25, 0.25, 0.125]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"milestones": [2, 9]}, {"milestones": [1, 6, 6, 20], "gamma": 0.5})
    _rules: ClassVar = {"milestones": as_milestones, "gamma": checks.as_number}

    def __init__(self, optimizer: Optimizer, milestones: Iterable[int], gamma: float = 0.1):
        self.milestones: list[int] = milestones  # type: ignore[assignment]  # which become one
        self.gamma = gamma
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        return self.base_lr * self.gamma ** bisect_right(self.milestones, epoch)
