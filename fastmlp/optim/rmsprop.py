"""RMSprop."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.elementary import sqrt
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import sign
from fastmlp.parameters import Parameter

__all__ = ["RMSprop"]


class RMSprop(Optimizer):
    """Gradients divided by the root of their mean square, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param
        square_avg = alpha * square_avg + (1 - alpha) * g^2
        grad_avg = grad_avg + (1 - alpha) * (g - grad_avg)                       (centered)
        step = g / (sqrt(square_avg) + eps)                 (centered: square_avg - grad_avg^2 instead)
        momentum_buffer = momentum * momentum_buffer + step                      (momentum; step = momentum_buffer then)
        param = param - lr * step

    Where the denominator is 0, which needs an `eps` of 0, the step is 0.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own.
    lr : float, default 0.01
        Learning rate, at least 0.
    alpha : float, default 0.99
        At least 0.
    eps : float, default 1e-8
        At least 0.
    weight_decay : float, default 0
        The factor of the L2 penalty, at least 0; biases decay too, as in PyTorch.
    momentum : float, default 0
        At least 0.
    centered : bool, default False
        Whether the variance stands in the place of the mean square.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    T. Tieleman, G. Hinton, "Lecture 6.5: RMSprop", COURSERA: Neural networks for machine learning, 2012; centered: A. Graves,
    "Generating sequences with recurrent neural networks", arXiv:1308.0850 (2013), equations 38 to 45.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.RMSprop(model.parameters(), momentum=0.9).state
    ('square_avg', 'momentum_buffer')
    """

    rules: ClassVar = {
        "alpha": rules.number,
        "eps": rules.number,
        "weight_decay": rules.number,
        "momentum": rules.number,
        "centered": rules.flag,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.01, "momentum": 0.9},
        {"lr": 0.02, "alpha": 0.9, "eps": 1e-3, "centered": True, "maximize": True},
        {"lr": 0.01, "alpha": 0.95, "eps": 0.1, "weight_decay": 0.1, "momentum": 0.8, "centered": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.01,
        alpha: float = 0.99,
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum: float = 0.0,
        centered: bool = False,
        *,
        maximize: bool = False,
    ):
        options = {"momentum": momentum, "centered": centered, "maximize": maximize}
        super().__init__(params, lr=lr, alpha=alpha, eps=eps, weight_decay=weight_decay, **options)

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        buffer = ("momentum_buffer",) if any(group["momentum"] for group in self.param_groups) else ()
        mean = ("grad_avg",) if any(group["centered"] for group in self.param_groups) else ()
        return ("square_avg", *buffer, *mean)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        alpha, options = group["alpha"], (group["eps"], group["weight_decay"], sign(group), group["momentum"])
        return -lr, alpha, 1 - alpha, *options, float(group["centered"])

    @property
    def update(self) -> Callable[..., Any]:  # type: ignore[override]
        return FORMULAS[self.state]


def plain(p, g, square, *numbers):
    """A step with neither momentum nor mean."""
    return step(p, g, square, None, None, *numbers)[:2]


def with_buffer(p, g, square, buffer, *numbers):
    """A step with momentum."""
    return step(p, g, square, buffer, None, *numbers)[:3]


def with_mean(p, g, square, mean, *numbers):
    """A step by the variance."""
    p, square, _, mean = step(p, g, square, None, mean, *numbers)
    return p, square, mean


def step(p, g, square, buffer, mean, minus_lr, alpha, new, eps, decay, sign, momentum, centered):
    """One step; `buffer` and `mean` are None where no group needs them."""
    g = muladd(decay, p, sign * g)
    square = muladd(alpha, square, new * g * g)
    under = square
    if mean is not None:
        mean = muladd(new, g - mean, mean)
        variance = muladd(-centered * mean, mean, square)
        under = select(variance < 0, 0, variance)  # by rounding, where gradients are all the same
    denominator = sqrt(under) + eps
    change = select(denominator > 0, g / denominator, 0)
    if buffer is not None:
        change = buffer = muladd(momentum, buffer, change)
    return muladd(minus_lr, change, p), square, buffer, mean


#: By the arrays of state.
FORMULAS: dict[tuple[str, ...], Callable[..., Any]] = {
    ("square_avg",): plain,
    ("square_avg", "momentum_buffer"): with_buffer,
    ("square_avg", "grad_avg"): with_mean,
    ("square_avg", "momentum_buffer", "grad_avg"): step,
}
