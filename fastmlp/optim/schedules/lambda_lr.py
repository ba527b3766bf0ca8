"""A rate by a function of the user's."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastmlp.optim.schedules.by_function import ByFunction

__all__ = ["LambdaLR"]


class LambdaLR(ByFunction):
    """The optimizer's learning rate times a function of the epoch.

    ``rate(t) = lr * lr_lambda(t)``

    Parameters
    ----------
    optimizer : Optimizer
        Its learning rate of now is what the function's number multiplies.
    lr_lambda : function, or list of functions
        Of the epoch (or step), an int from 0 on; gives a number of at least 0. A list has one for each group of parameters.

    Notes
    -----
    ``state_dict`` has no function: ``load_state_dict`` keeps the one that is there. To be pickled, it must have a name that
    Python finds, which a ``lambda`` has not.

    Examples
    --------
    >>> import fastmlp as fm
    >>> optimizer = fm.SGD(fm.Linear(2, 2).parameters(), lr=0.5)
    >>> schedule = fm.LambdaLR(optimizer, lambda epoch: 1 / (1 + epoch))
    >>> [schedule.rate(epoch) for epoch in (0, 1, 3)]
    [0.5, 0.25, 0.125]
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"lr_lambda": math.tanh},)

    def rate(self, epoch: int) -> float:
        return self.base_lr * self._factor(epoch)
