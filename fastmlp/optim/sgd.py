"""Stochastic gradient descent."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import sign
from fastmlp.parameters import Parameter

__all__ = ["SGD"]


class SGD(Optimizer):
    """Stochastic gradient descent with momentum, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param
        velocity = momentum * velocity + (1 - dampening) * g      (the first step: velocity = g)
        param = param - lr * velocity                             (nesterov: param - lr * (g + momentum * velocity))

    Parameters
    ----------
    params : iterable of Parameter
        ``model.parameters()``.
    lr : float, default 0.001
        Learning rate, at least 0.
    momentum : float, default 0
        At least 0 and below 1.
    dampening : float, default 0
        At most 1.
    weight_decay : float, default 0
        The factor of the L2 penalty, at least 0; biases decay too, as in PyTorch.
    nesterov : bool, default False
        Nesterov's momentum; needs a momentum and no dampening.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    I. Sutskever, J. Martens, G. Dahl, G. Hinton, "On the importance of initialization and momentum in deep learning", ICML
    2013, section 2, in the form PyTorch gives it.

    Examples
    --------
    >>> import numpy as np, fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> criterion, optimizer = fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    >>> x = np.array([[1.0, 2.0]])
    >>> before = criterion(model(x), [[1.0]])
    >>> optimizer.zero_grad()
    >>> _ = model.backward(criterion.backward())
    >>> optimizer.step()
    >>> criterion(model(x), [[1.0]]) < before
    True
    """

    rules: ClassVar = {
        "momentum": rules.fraction,
        "dampening": partial(checks.as_number, most=1.0),
        "weight_decay": rules.number,
        "nesterov": rules.flag,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"lr": 0.05, "weight_decay": 0.02, "maximize": True},
        {"lr": 0.05, "momentum": 0.9},
        {"lr": 0.05, "momentum": 0.9, "dampening": 0.3, "weight_decay": 0.02},
        {"lr": 0.05, "momentum": 0.9, "nesterov": True},
        {"lr": 0.05, "momentum": 0.9, "weight_decay": 0.02, "nesterov": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.001,
        momentum: float = 0.0,
        dampening: float = 0.0,
        weight_decay: float = 0.0,
        nesterov: bool = False,
        *,
        maximize: bool = False,
    ):
        options = {"weight_decay": weight_decay, "nesterov": nesterov, "maximize": maximize}
        super().__init__(params, lr=lr, momentum=momentum, dampening=dampening, **options)

    def check(self, group: dict[str, Any]) -> dict[str, Any]:
        checked = super().check(group)
        if checked["nesterov"] and (checked["momentum"] == 0 or checked["dampening"] != 0):
            raise ValueError("nesterov needs a momentum above 0 and a dampening of 0")
        return checked

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        return ("velocity",) if any(group["momentum"] for group in self.param_groups) else ()

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        # To maximize is to turn the gradient's sign: here, for it would be a multiplication for each parameter.
        turn, decay = sign(group), sign(group) * group["weight_decay"]
        momentum = group["momentum"]  # 0 in one of several groups, perhaps; then there is no dampening either
        if not self.state and np.ndim(momentum) == 0:  # one that a schedule changes may come to 0, too
            return -lr * turn, decay
        keep = np.where(t == 1, 1, 1 - group["dampening"]) if np.any(momentum) else 1
        return -lr, decay, momentum, keep * turn, group["nesterov"] * turn

    @property
    def update(self) -> Callable[..., Any]:  # type: ignore[override]
        return with_momentum if self.state else without_momentum


def without_momentum(p, g, minus_lr, decay):
    """A step without momentum."""
    return muladd(minus_lr, muladd(decay, p, g), p)


def with_momentum(p, g, velocity, minus_lr, decay, momentum, keep, nesterov):
    """A step with momentum."""
    g = muladd(decay, p, g)
    velocity = muladd(momentum, velocity, keep * g)
    ahead = muladd(momentum, velocity, nesterov * g)
    return muladd(minus_lr, select(nesterov != 0, ahead, velocity), p), velocity
