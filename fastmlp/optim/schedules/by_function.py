"""What the schedules of a function of the user's have in common."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.schedule import LRScheduler

__all__ = ["ByFunction"]


class ByFunction(LRScheduler):
    """A schedule of a function, or of one for each group of the optimizer."""

    _no_state: ClassVar[tuple[str, ...]] = ("optimizer", "lr_lambda")

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list[Callable[[int], float]]):
        self.optimizer = optimizer
        self.lr_lambda = lr_lambda
        super().__init__(optimizer)

    def _checked(self, name: str, value: Any) -> Any:
        if name != "lr_lambda":
            return super()._checked(name, value)
        several = isinstance(value, (list, tuple))
        if several:
            self._check_one_for_each_group(value, name)
        for function in value if several else [value]:
            if not callable(function):
                raise TypeError(f"lr_lambda should be a function, but got {checks.shown(function)}")
        return list(value) if several else value

    def _factor(self, epoch: int) -> float:
        """What the function says, that of the group where there are several."""
        factor = self._here(self.lr_lambda)(epoch)
        if factor is None:
            raise TypeError(f"lr_lambda({epoch}) must return a number; got None{checks.missing_return(factor)}")
        return checks.as_number(factor, f"what lr_lambda({epoch}) returns")
