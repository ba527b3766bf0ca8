"""Cosine annealing that begins anew."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["CosineAnnealingWarmRestarts"]


class CosineAnnealingWarmRestarts(LRScheduler):
    """Half a cosine from the optimizer's learning rate down to `eta_min`, again and again.

    ``rate(t) = eta_min + (lr - eta_min) * (1 + cos(pi T_cur / T_i)) / 2``, where T_cur epochs are gone since the last restart;
    T_i, the epochs to the next one, is `T_0` at first and `T_mult` times as many after each.

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is that of epoch 0.
    T_0 : int
        Epochs to the first restart.
    T_mult : int, default 1
        By what they grow, at least 1.
    eta_min : float, default 0
        The learning rate that a cosine goes down to.

    References
    ----------
    I. Loshchilov, F. Hutter, "SGDR: Stochastic gradient descent with warm restarts", ICLR 2017, section 3.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.CosineAnnealingWarmRestarts(optimizer, T_0=10, T_mult=2)
    >>> [round(schedule.rate(epoch), 3) for epoch in (0, 5, 10, 20, 30)]
    [0.5, 0.25, 0.5, 0.25, 0.5]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"T_0": 6}, {"T_0": 3, "T_mult": 2, "eta_min": 0.01})
    _rules: ClassVar = {"T_0": checks.as_size, "T_mult": checks.as_size, "eta_min": checks.as_number}

    def __init__(self, optimizer: Optimizer, T_0: int, T_mult: int = 1, eta_min: float = 0.0):
        self.T_0 = T_0
        self.T_mult = T_mult
        self.eta_min = eta_min
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        gone, length = epoch, self.T_0
        if self.T_mult == 1:
            gone %= length
        while gone >= length:
            gone -= length
            length *= self.T_mult
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + math.cos(math.pi * gone / length)) / 2
