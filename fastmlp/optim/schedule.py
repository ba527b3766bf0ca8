"""Learning-rate schedules."""

from __future__ import annotations

import math

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingLR", "LRScheduler"]


class LRScheduler:
    """A learning rate for each epoch: eagerly ``schedule.step()`` after each one, in :func:`fastmlp.fit` ``schedule=``.

    To write one of your own, subclass it and give it ``rate(epoch)``, the learning rate of that epoch, counted from 0; the
    optimizer's own learning rate is ``self.base_lr``. What `rate` needs is set before ``super().__init__(optimizer)``, which
    puts the rate of epoch 0 into force.
    """

    def __init__(self, optimizer: Optimizer):
        if not isinstance(optimizer, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer; got a {type(optimizer).__name__}")
        self.optimizer = optimizer
        self.base_lr = optimizer.lr
        self.last_epoch = 0
        optimizer.lr = self.rate(0)

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(epoch)")

    def step(self, epochs: int = 1) -> None:
        """Go on to the next epoch (or by several)."""
        self.last_epoch += epochs
        self.optimizer.lr = self.rate(self.last_epoch)

    def get_last_lr(self) -> list[float]:
        """The learning rate in force, as a list of one, as in PyTorch."""
        return [self.optimizer.lr]

    def state_dict(self) -> dict:
        """All numbers of the schedule."""
        return {name: value for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state: dict) -> None:
        """Take over what ``state_dict`` gave."""
        unknown = state.keys() ^ self.state_dict().keys()
        if unknown:
            raise KeyError(f"the state_dict does not fit {type(self).__name__}: {sorted(unknown)}")
        self.__dict__.update(state)
        self.optimizer.lr = self.rate(self.last_epoch)


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

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        self.T_max = checks.as_size(T_max, "T_max")
        self.eta_min = checks.as_number(eta_min, "eta_min")
        super().__init__(optimizer)

    def rate(self, epoch: int) -> float:
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2
