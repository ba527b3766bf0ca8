"""Adamax."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.compiler.expression import maximum, muladd, select
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import sign
from fastmlp.parameters import Parameter

__all__ = ["Adamax"]


class Adamax(Optimizer):
    """Adam with the infinity norm of the gradients, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param
        exp_avg = exp_avg + (1 - beta1) * (g - exp_avg)
        exp_inf = max(beta2 * exp_inf, |g| + eps)
        param = param - lr / (1 - beta1^t) * exp_avg / exp_inf

    in step t, counted from 1. Where exp_inf is 0, which needs an `eps` of 0, the parameter stays as it is.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own.
    lr : float, default 0.002
        Learning rate, at least 0.
    betas : (float, float), default (0.9, 0.999)
        Each at least 0 and below 1.
    eps : float, default 1e-8
        At least 0.
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
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.Adamax(model.parameters())
    Adamax(lr=0.002, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, maximize=False)
    """

    state = ("exp_avg", "exp_inf")
    rules: ClassVar = {
        "betas": rules.betas,
        "eps": rules.number,
        "weight_decay": rules.number,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, maximize=maximize)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        return -lr / (1 - beta1**t), 1 - beta1, beta2, group["eps"], group["weight_decay"], sign(group)

    @staticmethod
    def update(p, g, m, u, rate, new1, beta2, eps, decay, sign):
        g = muladd(decay, p, sign * g)
        m = muladd(new1, g - m, m)
        u = maximum(beta2 * u, abs(g) + eps)
        return muladd(rate, select(u > 0, m / u, 0), p), m, u
