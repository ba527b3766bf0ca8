"""The base of every learning-rate schedule."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Sequence
from typing import Any, ClassVar

from fastmlp import checks, pickles
from fastmlp.arguments import arguments_of
from fastmlp.optim.optimizer import Optimizer

__all__ = ["LRScheduler"]


class LRScheduler:
    """A learning rate for each epoch, or for each step.

    By hand ``schedule.step()`` comes after each one; in :func:`fastmlp.fit` there is ``schedule=``.

    To write one of your own, subclass it and give it ``rate(t)``, the learning rate of epoch t (or of step t), counted from 0;
    the optimizer's own learning rate is ``self.base_lr``. What `rate` needs is set before ``super().__init__(optimizer)``,
    which puts the rate of epoch 0 into force. A schedule of the momentum has ``momentum(t)``, too.

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
    takes_metric: ClassVar[bool] = False  # whether step() is told how well the epoch went
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({},)

    #: What an attribute becomes, by name: functions of value and name, which refuse what it cannot be.
    _rules: ClassVar[dict[str, Callable[[Any, str], Any]]] = {}
    #: Attributes that are no numbers: ``state_dict`` has none of them.
    _no_state: ClassVar[tuple[str, ...]] = ("optimizer",)
    _group = 0  # of the optimizer: the one that is asked for

    def __init__(self, optimizer: Optimizer, base_lr: float | Sequence[float] | None = None):
        self.optimizer = optimizer
        groups = optimizer.param_groups
        if not groups:
            raise ValueError("the optimizer has no parameters, so there is no learning rate to begin from")
        if base_lr is not None:  # a schedule that does not begin from the optimizer's own
            given = self._as_of_groups(base_lr, "base_lr")
            for number, group in enumerate(groups):
                group["initial_lr"] = _of_group(given, number)
        self.base_lrs = [group.setdefault("initial_lr", checks.as_number(group["lr"], "lr")) for group in groups]
        self.base_lr = self.base_lrs[0]
        self.last_epoch = 0
        self._put_into_force()

    def rate(self, epoch: int) -> float:
        """The learning rate of an epoch (or step)."""
        raise NotImplementedError(f"{type(self).__name__} has no rate(epoch)")

    def momentum(self, epoch: int) -> float | None:
        """The momentum of an epoch (or step), or beta1 of an optimizer with betas; None as long as it has no say in that."""
        return None

    def step(self, epochs: int = 1) -> None:
        """Go on to the next epoch, or by several; a negative number goes back."""
        before = self.last_epoch
        self.last_epoch += checks.as_size(epochs, "epochs", least=-checks.LARGEST_COUNT)
        try:
            self._put_into_force()
        except BaseException:
            self.last_epoch = before
            raise

    def _for_groups(self, ask: Callable[[], Any]) -> list[Any]:
        """What `ask()` says for each group of the optimizer, each with a `base_lr` of its own."""
        for group in self.optimizer.param_groups[len(self.base_lrs) :]:  # that were added since
            self.base_lrs.append(group.setdefault("initial_lr", checks.as_number(group["lr"], "lr")))
        here, first, answers = self.__dict__, self.base_lr, []
        try:
            for number, base in enumerate([first, *self.base_lrs[1:]]):
                here["_group"], here["base_lr"] = number, base
                answers.append(ask())
        finally:
            here["base_lr"] = first
            here.pop("_group", None)
        return answers

    def _rates(self, epoch: int) -> list[float]:
        """The learning rates of an epoch (or step), one for each group of the optimizer."""

        def ask() -> float:
            try:
                rate = self.rate(epoch)
            except OverflowError:
                rate = math.inf
            return checks.as_rate(rate, self, epoch)

        return self._for_groups(ask)

    def _momenta(self, epoch: int) -> list[float] | None:
        """The momenta of an epoch (or step), one for each group; None where the schedule leaves them alone."""
        if type(self).momentum is LRScheduler.momentum:
            return None
        momenta = self._for_groups(lambda: self.momentum(epoch))
        if None in momenta:
            return None
        what = f"what {type(self).__name__}.momentum({epoch}) returns"
        return [checks.as_number(momentum, what, below=1.0) for momentum in momenta]

    def _put_into_force(self, epoch: int | None = None) -> None:
        """Have the optimizer go by the rates and momenta of an epoch (or step), by default of the one that is next."""
        epoch = self.last_epoch if epoch is None else epoch
        self._put(self._rates(epoch), self._momenta(epoch))

    def _put(self, rates: list[float], momenta: list[float] | None) -> None:
        """Have the optimizer go by these, one for each group."""
        groups = self.optimizer.param_groups
        for group, momentum in zip(groups, momenta or ()):
            group.update(self.optimizer._with_momentum(group, momentum))
        for group, rate in zip(groups, rates):
            group["lr"] = rate

    def _settle(self) -> None:
        """Put the rate of what comes next into force; where there is none, at the end of a list of rates say, the last one."""
        try:
            self._put_into_force()
        except Exception:
            if not self.last_epoch:
                raise
            self._put_into_force(self.last_epoch - 1)

    def get_last_lr(self) -> list[float]:
        """The learning rates in force, one for each group, as in PyTorch."""
        return [group["lr"] for group in self.optimizer.param_groups]

    def get_config(self) -> dict[str, Any]:
        """The arguments, behind the optimizer, that make a schedule like this one; its place is in the ``state_dict``.

        They are read from the attributes that have the names of the constructor's arguments, as those of a
        :class:`fastmlp.Module`.
        """
        return arguments_of(self, skip=1)

    def __getstate__(self) -> dict:
        return pickles.closed(self.__dict__)

    def __setstate__(self, state: dict) -> None:
        self.__dict__.update(pickles.opened(state, self))

    def state_dict(self) -> dict:
        """All numbers of the schedule."""
        return {name: copy.copy(value) for name, value in self.__dict__.items() if name not in self._no_state}

    def load_state_dict(self, state: dict) -> None:
        """Take over what ``state_dict`` gave."""
        checks.check_mapping(state, "state")
        unknown = state.keys() ^ self.state_dict().keys()
        if unknown:
            raise KeyError(f"the state_dict does not fit {type(self).__name__}: {sorted(unknown)}")
        before = dict(self.__dict__)
        self.__dict__.update({name: self._checked(name, value) for name, value in state.items()})
        try:
            self._settle()
        except BaseException:
            self.__dict__.update(before)
            raise

    def __setattr__(self, name: str, value: Any) -> None:
        object.__setattr__(self, name, self._checked(name, value))

    def __repr__(self) -> str:
        rates = ", ".join(f"{group['lr']:g}" for group in self.optimizer.param_groups)
        return f"{type(self).__name__}(last_epoch={self.last_epoch}, lr={rates})"

    def _checked(self, name: str, value: Any) -> Any:
        """What an attribute becomes; a subclass refuses what it cannot be."""
        if name in self._rules:
            return self._rules[name](value, name)
        if name == "interval" and value not in ("epoch", "step"):
            raise ValueError(f'interval must be "epoch" or "step"; got {value!r}')
        if name == "optimizer" and not isinstance(value, Optimizer):
            raise TypeError(f"optimizer must be an Optimizer of fastmlp; got a {checks.full_name(value)}")
        if name == "last_epoch":
            return checks.as_size(value, name, least=0)
        if name == "base_lrs":
            numbers, groups = [checks.as_number(number, "each of base_lrs") for number in value], self.optimizer.param_groups
            if not 0 < len(numbers) <= len(groups):  # a group that has been added since gets its own
                raise ValueError(f"base_lrs must hold a number for each group, {len(groups)} in all; got {len(numbers)}")
            return numbers
        return checks.as_number(value, name) if name == "base_lr" else value

    def _as_of_groups(self, value: Any, name: str, **bounds: float) -> float | list[float]:
        """A number for all groups of the optimizer, or a list of one for each."""
        if not isinstance(value, (list, tuple)):
            return checks.as_number(value, name, **bounds)
        self._check_one_for_each_group(value, name)
        return [checks.as_number(number, f"{name}[{i}]", **bounds) for i, number in enumerate(value)]

    def _check_one_for_each_group(self, values: Sequence, name: str) -> None:
        count = len(self.optimizer.param_groups)
        if len(values) != count:
            raise ValueError(f"{name} must have the same length as optimizer.param_groups, {count}; got {len(values)}")

    def _here(self, value: Any) -> Any:
        """That of the group which is asked for."""
        return _of_group(value, self._group)


def _of_group(value: Any, group: int) -> Any:
    """A group's own of what may be a list of one for each."""
    return value[group] if isinstance(value, list) else value
