"""RAdam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.elementary import sqrt
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import decays, sign
from fastmlp.parameters import Parameter

__all__ = ["RAdam"]


class RAdam(Optimizer):
    """Rectified Adam, which begins without the second moment, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param        (decoupled: param = (1 - lr * weight_decay) * param instead)
        exp_avg = exp_avg + (1 - beta1) * (g - exp_avg)
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g^2
        rho_inf = 2 / (1 - beta2) - 1
        rho = rho_inf - 2 * t * beta2^t / (1 - beta2^t)
        step = lr / (1 - beta1^t) * exp_avg
        param = param - step                                                  where rho is at most 5, else
        param = param - step * rect * sqrt(1 - beta2^t) / (sqrt(exp_avg_sq) + eps)
        rect = sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))

    in step t, counted from 1. Where the denominator is 0, which needs an `eps` of 0, the parameter stays as it is.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own.
    lr : float, default 0.001
        Learning rate, at least 0.
    betas : (float, float), default (0.9, 0.999)
        Each at least 0 and below 1.
    eps : float, default 1e-8
        At least 0.
    weight_decay : float, default 0
        The factor of the L2 penalty, at least 0; biases decay too, as in PyTorch.
    decoupled_weight_decay : bool, default False
        Whether the decay shrinks the parameters beside the step, as AdamW's does, instead of adding to the gradient.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    L. Liu, H. Jiang, P. He, W. Chen, X. Liu, J. Gao, J. Han, "On the variance of the adaptive learning rate and beyond", ICLR
    2020, algorithm 2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.RAdam(model.parameters(), lr=0.01).betas
    (0.9, 0.999)
    """

    state = ("exp_avg", "exp_avg_sq")
    rules: ClassVar = {
        "betas": rules.betas,
        "eps": rules.number,
        "weight_decay": rules.number,
        "decoupled_weight_decay": rules.flag,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.02, "betas": (0.8, 0.7), "eps": 1e-3, "weight_decay": 0.1, "maximize": True},
        {"lr": 0.01, "betas": (0.9, 0.95), "weight_decay": 0.1, "decoupled_weight_decay": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        options = {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, lr=lr, betas=betas, eps=eps, weight_decay=weight_decay, **options)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        left, most = 1 - beta2**t, 2 / (1 - beta2) - 1
        rho = most - 2 * t * beta2**t / left
        rectified = rho > 5
        square = np.where(rectified, (rho - 4) * (rho - 2) * most / ((most - 4) * (most - 2) * rho), 1)
        # The denominator is 1 where there is no second moment yet.
        rate = -lr / (1 - beta1**t) * np.where(rectified, np.sqrt(square * left), 1)
        denominator = np.where(rectified, 1.0, 0.0), np.where(rectified, group["eps"], 1.0)
        return rate, *denominator, 1 - beta1, beta2, 1 - beta2, *decays(group, lr), sign(group)

    @staticmethod
    def update(p, g, m, v, rate, of_root, of_one, new1, beta2, new2, decay, keep, sign):
        g = muladd(decay, p, sign * g)
        m = muladd(new1, g - m, m)
        v = muladd(beta2, v, new2 * g * g)
        denominator = muladd(of_root, sqrt(v), of_one)
        return muladd(rate, select(denominator > 0, m / denominator, 0), keep * p), m, v
