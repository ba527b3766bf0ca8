"""Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.compiler.expression import maximum, muladd, select
from fastmlp.kernels.elementary import sqrt
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import decays, sign
from fastmlp.parameters import Parameter

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adaptive moment estimation, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param        (decoupled: param = (1 - lr * weight_decay) * param instead)
        exp_avg = exp_avg + (1 - beta1) * (g - exp_avg)
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g^2
        param = param - lr / (1 - beta1^t) * exp_avg / (sqrt(exp_avg_sq / (1 - beta2^t)) + eps)

    in step t, counted from 1. With `amsgrad`, the largest exp_avg_sq so far stands in the last line. Where the denominator is
    0, which needs an `eps` of 0, the parameter stays as it is.

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
    amsgrad : bool, default False
        Whether the denominator never falls.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.
    decoupled_weight_decay : bool, default False
        Whether the decay shrinks the parameters beside the step, as AdamW's does, instead of adding to the gradient.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; S. J. Reddi, S. Kale, S. Kumar,
    "On the convergence of Adam and beyond", ICLR 2018, algorithm 2; I. Loshchilov, F. Hutter,
    "Decoupled weight decay regularization", ICLR 2019, algorithm 2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.Adam(model.parameters(), lr=0.01)
    Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, amsgrad=False, maximize=False, decoupled_weight_decay=False)
    """

    rules: ClassVar = {
        "betas": rules.betas,
        "eps": rules.number,
        "weight_decay": rules.number,
        "amsgrad": rules.flag,
        "maximize": rules.flag,
        "decoupled_weight_decay": rules.flag,
    }

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1},
        {"lr": 0.01, "amsgrad": True},
        {"lr": 0.01, "amsgrad": True, "weight_decay": 0.05, "maximize": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        amsgrad: bool = False,
        *,
        maximize: bool = False,
        decoupled_weight_decay: bool = False,
    ):
        options = {"weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize}
        super().__init__(params, lr=lr, betas=betas, eps=eps, **options, decoupled_weight_decay=decoupled_weight_decay)

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        largest = ("max_exp_avg_sq",) if any(group["amsgrad"] for group in self.param_groups) else ()
        return ("exp_avg", "exp_avg_sq", *largest)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        rate, root = -lr / (1 - beta1**t), 1 / np.sqrt(1 - beta2**t)
        moments = rate, root, 1 - beta1, beta2, 1 - beta2, group["eps"], *decays(group, lr), sign(group)
        return (*moments, float(group["amsgrad"])) if len(self.state) == 3 else moments

    @staticmethod
    def update(p, g, m, v, *rest):
        if len(rest) == 9:
            return step(p, g, m, v, None, *rest)[:3]
        largest, *scalars, amsgrad = rest
        return step(p, g, m, v, (largest, amsgrad), *scalars)


def step(p, g, m, v, largest, rate, root, new1, beta2, new2, eps, decay, keep, sign):
    """One step; `largest` is the largest v so far and whether it counts, or None."""
    g = muladd(decay, p, sign * g)
    m = muladd(new1, g - m, m)
    v = muladd(beta2, v, new2 * g * g)
    most = v
    if largest is not None:
        so_far = maximum(largest[0], v)
        most = select(largest[1] > 0, so_far, v)
    denominator = muladd(sqrt(most), root, eps)
    p = muladd(rate, select(denominator > 0, m / denominator, 0), keep * p)
    return (p, m, v) if largest is None else (p, m, v, so_far)
