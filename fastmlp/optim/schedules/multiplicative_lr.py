"""A rate by factors of the user's."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.schedules.by_function import ByFunction

__all__ = ["MultiplicativeLR"]


class MultiplicativeLR(ByFunction):
    """The optimizer's learning rate times what a function says of each epoch from 1 on.

    ``rate(t) = lr * lr_lambda(1) * ... * lr_lambda(t)``

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is that of epoch 0.
    lr_lambda : function, or list of functions
        Of the epoch (or step), an int from 1 on; gives a factor of at least 0. A list has one for each group of parameters.

    Notes
    -----
    The function is asked once about each epoch, in order. ``state_dict`` has no function: ``load_state_dict`` keeps the one
    that is there. To be pickled, it must have a name that Python finds, which a ``lambda`` has not.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.MultiplicativeLR(optimizer, lambda epoch: 0.5)
    >>> [schedule.rate(epoch) for epoch in range(3)]
    [0.5, 0.25, 0.125]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"lr_lambda": math.tanh},)
    _no_state: ClassVar[tuple[str, ...]] = (*ByFunction._no_state, "_products")

    def __init__(self, optimizer: Optimizer, lr_lambda: Callable[[int], float] | list[Callable[[int], float]]):
        self._products: dict[int, list[float]] = {}  # of the factors up to each epoch, by group
        super().__init__(optimizer, lr_lambda)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "lr_lambda":
            self._products.clear()
        return super()._checked(name, value)

    def rate(self, epoch: int) -> float:
        products = self._products.setdefault(self._group, [1.0])
        while len(products) <= epoch:
            products.append(products[-1] * self._factor(len(products)))
        return self.base_lr * products[epoch]
