"""Cosine annealing."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["CosineAnnealingLR"]


class CosineAnnealingLR(LRScheduler):
    """Half a cosine from the optimizer's learning rate down to `eta_min`, over `T_max` epochs.

    ``rate(t) = eta_min + (lr - eta_min) * (1 + cos(pi t / T_max)) / 2``, which rises again after `T_max`, as PyTorch's does.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is that of epoch 0.
    T_max : int
        Epochs to the minimum.
    eta_min : float, default 0
        The learning rate there.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017, equation 5.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.1)
    >>> schedule = fm.CosineAnnealingLR(optimizer, T_max=10)
    >>> for epoch in range(5):
    ...     schedule.step()
    >>> round(optimizer.lr, 6)
    0.05
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"T_max": 10}, {"T_max": 7, "eta_min": 0.01})
    _rules: ClassVar = {"T_max": checks.as_size, "eta_min": checks.as_number}

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2
