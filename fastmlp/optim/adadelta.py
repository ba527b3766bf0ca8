"""Adadelta."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.elementary import sqrt
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import sign
from fastmlp.parameters import Parameter

__all__ = ["Adadelta"]


class Adadelta(Optimizer):
    """Steps as large as those before, in the units of the parameters, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param
        square_avg = rho * square_avg + (1 - rho) * g^2
        delta = sqrt(acc_delta + eps) / sqrt(square_avg + eps) * g
        acc_delta = rho * acc_delta + (1 - rho) * delta^2
        param = param - lr * delta

    Where square_avg + eps is 0, which needs an `eps` of 0, the parameter stays as it is.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own.
    lr : float, default 1
        Learning rate, at least 0.
    rho : float, default 0.9
        At least 0 and at most 1.
    eps : float, default 1e-6
        At least 0; with 0, nothing ever moves.
    weight_decay : float, default 0
        The factor of the L2 penalty, at least 0; biases decay too, as in PyTorch.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    M. D. Zeiler, "ADADELTA: an adaptive learning rate method", arXiv:1212.5701 (2012), algorithm 1.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.Adadelta(model.parameters())
    Adadelta(lr=1.0, rho=0.9, eps=1e-06, weight_decay=0.0, maximize=False)
    """

    state = ("square_avg", "acc_delta")
    rules: ClassVar = {
        "rho": partial(checks.as_number, most=1.0),
        "eps": rules.number,
        "weight_decay": rules.number,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"lr": 0.5, "rho": 0.8, "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1.0,
        rho: float = 0.9,
        eps: float = 1e-6,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, rho=rho, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        rho = group["rho"]
        return -lr, rho, 1 - rho, group["eps"], group["weight_decay"], sign(group)

    @staticmethod
    def update(p, g, square, deltas, minus_lr, rho, new, eps, decay, sign):
        g = muladd(decay, p, sign * g)
        square = muladd(rho, square, new * g * g)
        denominator = square + eps
        # One square root, of a quotient, instead of two.
        delta = sqrt(select(denominator > 0, (deltas + eps) / denominator, 0)) * g
        return muladd(minus_lr, delta, p), square, muladd(rho, deltas, new * delta * delta)
