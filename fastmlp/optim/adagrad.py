"""Adagrad."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.elementary import sqrt
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import sign
from fastmlp.parameters import Parameter

__all__ = ["Adagrad"]


class Adagrad(Optimizer):
    """Adaptive gradients: each parameter has a rate that falls with the squares so far, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param
        sum = sum + g^2                                        (sum = initial_accumulator_value at first)
        param = param - lr / (1 + (t - 1) * lr_decay) * g / (sqrt(sum) + eps)

    in step t, counted from 1. Where the denominator is 0, which needs an `eps` of 0, the parameter stays as it is.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own.
    lr : float, default 0.01
        Learning rate, at least 0.
    lr_decay : float, default 0
        At least 0.
    weight_decay : float, default 0
        The factor of the L2 penalty, at least 0; biases decay too, as in PyTorch.
    initial_accumulator_value : float, default 0
        At least 0.
    eps : float, default 1e-10
        At least 0.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    J. Duchi, E. Hazan, Y. Singer, "Adaptive subgradient methods for online learning and stochastic optimization", JMLR 12
    (2011), figure 1.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.Adagrad(model.parameters(), lr=0.1).eps
    1e-10
    """

    state = ("sum",)
    rules: ClassVar = {
        "lr_decay": rules.number,
        "weight_decay": rules.number,
        "initial_accumulator_value": rules.number,
        "eps": rules.number,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.05},
        {"lr": 0.1, "lr_decay": 0.1, "weight_decay": 0.1, "initial_accumulator_value": 0.5, "eps": 1e-3, "maximize": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.01,
        lr_decay: float = 0.0,
        weight_decay: float = 0.0,
        initial_accumulator_value: float = 0.0,
        eps: float = 1e-10,
        *,
        maximize: bool = False,
    ):
        decays = {"lr_decay": lr_decay, "weight_decay": weight_decay}
        options = {"initial_accumulator_value": initial_accumulator_value, "eps": eps, "maximize": maximize}
        super().__init__(params, lr=lr, **decays, **options)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        rate = -lr / (1 + (t - 1) * group["lr_decay"])
        return rate, group["initial_accumulator_value"], group["eps"], group["weight_decay"], sign(group)

    @staticmethod
    def update(p, g, total, rate, initial, eps, decay, sign):
        g = muladd(decay, p, sign * g)
        total = muladd(g, g, select(total == 0, initial, total))
        denominator = sqrt(total) + eps
        return muladd(rate, select(denominator > 0, g / denominator, 0), p), total
