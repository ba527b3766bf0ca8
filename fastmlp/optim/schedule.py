"""Learning-rate schedules."""

from __future__ import annotations

import copy
import math
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer

__all__ = ["CosineAnnealingLR", "LRScheduler"]


class LRScheduler:
    """A learning rate for each epoch, or for each step.

    By hand ``schedule.step()`` comes after each one; in :func:`fastmlp.fit` there is ``schedule=``.

    To write one of your own, subclass it and give it ``rate(t)``, the learning rate of epoch t (or of step t), counted from 0;
    the optimizer's own learning rate is ``self.base_lr``. What `rate` needs is set before ``super().__init__(optimizer)``,
    which puts the rate of epoch 0 into force.

    Attributes
    ----------
    interval : {"epoch", "step"}
        What `rate` counts in :func:`fastmlp.fit`. It may be assigned before the first epoch.
    last_epoch : int
        How many of these are over.

    Notes
    -----
    A second schedule of one optimizer begins from the rate that the optimizer had before the first one, as in PyTorch, unless
    another rate was assigned to it meanwhile. With groups of parameters, `rate` is asked for each of them, with the group's own
    rate for ``self.base_lr``.
    """

    interval = "epoch"
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    def __init__(self, optimizer: Optimizer):
        self.optimizer = optimizer
        if not optimizer.param_groups:
            raise ValueError("the optimizer has no parameters, so there is no learning rate to begin from")
        groups = optimizer.param_groups
        self.base_lrs = [group.setdefault("initial_lr", checks.as_number(group["lr"], "lr")) for group in groups]
        self.base_lr = self.base_lrs[0]
        self.last_epoch = 0
        self._put_into_force()

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (or step)."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(epoch)")

    def step(self, epochs: int = 1) -> None:
        """Go on to the next epoch (or by several)."""
        before = self.last_epoch
        self.last_epoch += epochs
        try:
            self._put_into_force()
        except BaseException:
            self.last_epoch = before
            raise

    def _rates(self, epoch: int) -> list[float]:
        """The learning rates of an epoch (or step), one for each group of the optimizer, each with a `base_lr` of its own."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:  # that were added since
            self.base_lrs.append(group.setdefault("initial_lr", checks.as_number(group["lr"], "lr")))
        first, rates = self.base_lr, []
        try:
            for base in [first, *self.base_lrs[1:]]:
                self.__dict__["base_lr"] = base
                rates.append(checks.as_rate(self.rate(epoch), self, epoch))
        finally:
            self.__dict__["base_lr"] = first
        return rates

    def _put_into_force(self) -> None:
        for group, rate in zip(self.optimizer.param_groups, self._rates(self.last_epoch)):
            group["lr"] = rate

    def get_last_lr(self) -> list[float]:
        """The learning rates in force, one for each group, as in PyTorch."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def state_dict(self) -> dict:
        """All numbers of the schedule."""
        return {name: copy.copy(value) for name, value in self.__dict__.items() if name != "optimizer"}

    def load_state_dict(self, state: dict) -> None:
        """Take over what ``state_dict`` gave."""
        checks.check_mapping(state, "state")
        unknown = state.keys() ^ self.state_dict().keys()
        if unknown:
            raise KeyError(f"the state_dict does not fit {type(self).__name__}: {sorted(unknown)}")
        before = dict(self.__dict__)
        self.__dict__.update({name: self._checked(name, value) for name, value in state.items()})
        try:
            self._put_into_force()
        except BaseException:
            self.__dict__.update(before)
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, self._checked(name, value))

    def _checked(self, name: str, value: Any) -> Any:
        """What an attribute becomes; a subclass refuses what it cannot be."""
        if name == "interval" and value not in ("epoch", "step"):
            raise ValueError(f'interval must be "epoch" or "step"; got {value!r}')
        if name == "optimizer" and not isinstance(value, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer of fastmlp; got a {checks.full_name(value)}")
        if name == "last_epoch":
            return checks.as_size(value, name, least=0)
        return checks.as_number(value, name) if name == "base_lr" else value


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

    def __init__(self, optimizer: Optimizer, T_max: int, eta_min: float = 0.0):
        self.T_max = T_max
        self.eta_min = eta_min
        super().__init__(optimizer)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "T_max":
            return checks.as_size(value, name)
        return checks.as_number(value, name) if name == "eta_min" else super()._checked(name, value)

    def rate(self, epoch: int) -> float:
        return self.eta_min + (self.base_lr - self.eta_min) * (1 + math.cos(math.pi * epoch / self.T_max)) / 2
