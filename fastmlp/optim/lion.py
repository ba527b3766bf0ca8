"""Lion."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import sign
from fastmlp.parameters import Parameter

__all__ = ["Lion"]


class Lion(Optimizer):
    """Evolved sign momentum: each parameter moves by the same amount, the sign of a momentum.

    ::

        update = sign(beta1 * exp_avg + (1 - beta1) * grad)
        param = (1 - lr * weight_decay) * param - lr * update
        exp_avg = beta2 * exp_avg + (1 - beta2) * grad

    PyTorch has none. Rates are three to ten times as small as Adam's, and the weight decay as many times as large.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own.
    lr : float, default 1e-4
        Learning rate, at least 0.
    betas : (float, float), default (0.9, 0.99)
        Each at least 0 and below 1.
    weight_decay : float, default 0
        Decoupled, at least 0.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    X. Chen et al., "Symbolic discovery of optimization algorithms", arXiv:2302.06675 (2023), algorithm 2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.Lion(model.parameters())
    Lion(lr=0.0001, betas=(0.9, 0.99), weight_decay=0.0, maximize=False)
    """

    state = ("exp_avg",)
    rules: ClassVar = {"betas": rules.betas, "weight_decay": rules.number, "maximize": rules.flag}
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.02, "betas": (0.8, 0.95), "weight_decay": 0.1, "maximize": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        weight_decay: float = 0.0,
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, betas=betas, weight_decay=weight_decay, maximize=maximize)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        return -lr, 1 - beta1, 1 - beta2, 1 - lr * group["weight_decay"], sign(group)

    @staticmethod
    def update(p, g, m, minus_lr, new1, new2, keep, sign):
        change = sign * g - m
        towards = muladd(new1, change, m)
        step = select(towards > 0, 1, select(towards < 0, -1, 0))
        return muladd(minus_lr, step, keep * p), muladd(new2, change, m)
