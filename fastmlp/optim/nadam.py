"""NAdam."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.elementary import sqrt
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import decays, sign
from fastmlp.parameters import Parameter

__all__ = ["NAdam"]


class NAdam(Optimizer):
    """Adam with Nesterov's momentum, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param        (decoupled: param = (1 - lr * weight_decay) * param instead)
        mu(t) = beta1 * (1 - 0.96^(t * momentum_decay) / 2)
        exp_avg = exp_avg + (1 - beta1) * (g - exp_avg)
        exp_avg_sq = beta2 * exp_avg_sq + (1 - beta2) * g^2
        step = (1 - mu(t)) / (1 - mu(1) ... mu(t)) * g + mu(t + 1) / (1 - mu(1) ... mu(t + 1)) * exp_avg
        param = param - lr * step / (sqrt(exp_avg_sq / (1 - beta2^t)) + eps)

    in step t, counted from 1. Where the denominator is 0, which needs an `eps` of 0, the parameter stays as it is.

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
    momentum_decay : float, default 0.004
        How fast mu rises to beta1, at least 0.
    decoupled_weight_decay : bool, default False
        Whether the decay shrinks the parameters beside the step, as AdamW's does, instead of adding to the gradient.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    Notes
    -----
    The product of the mu is a function of t and the hyperparameters in force: one that is changed later counts as if it had
    been so from the start, and no schedule may cycle beta1. PyTorch keeps the product in its default dtype, float32 mostly, and
    so to seven digits.

    References
    ----------
    T. Dozat, "Incorporating Nesterov momentum into Adam", ICLR workshop 2016, algorithm 2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.NAdam(model.parameters(), lr=0.01).momentum_decay
    0.004
    """

    state = ("exp_avg", "exp_avg_sq")
    constant_momentum = True  # the product of the mu is that of one beta1
    rules: ClassVar = {
        "betas": rules.betas,
        "eps": rules.number,
        "weight_decay": rules.number,
        "momentum_decay": rules.number,
        "decoupled_weight_decay": rules.flag,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.02, "betas": (0.8, 0.95), "eps": 1e-3, "weight_decay": 0.1, "momentum_decay": 0.1, "maximize": True},
        {"lr": 0.01, "weight_decay": 0.1, "decoupled_weight_decay": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.002,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
        weight_decay: float = 0.0,
        momentum_decay: float = 0.004,
        decoupled_weight_decay: bool = False,
        *,
        maximize: bool = False,
    ):
        decays = {"weight_decay": weight_decay, "momentum_decay": momentum_decay}
        options = {"decoupled_weight_decay": decoupled_weight_decay, "maximize": maximize}
        super().__init__(params, lr=lr, betas=betas, eps=eps, **decays, **options)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        (beta1, beta2), decay = group["betas"], group["momentum_decay"]
        of_g = -lr * (1 - _mu(t, beta1, decay)) / (1 - _product(t, beta1, decay))
        of_m = -lr * _mu(t + 1, beta1, decay) / (1 - _product(t + 1, beta1, decay))
        moments = 1 / np.sqrt(1 - beta2**t), 1 - beta1, beta2, 1 - beta2, group["eps"]
        return of_g, of_m, *moments, *decays(group, lr), sign(group)

    @staticmethod
    def update(p, g, m, v, of_g, of_m, root, new1, beta2, new2, eps, decay, keep, sign):
        g = muladd(decay, p, sign * g)
        m = muladd(new1, g - m, m)
        v = muladd(beta2, v, new2 * g * g)
        denominator = muladd(sqrt(v), root, eps)
        return muladd(keep, p, select(denominator > 0, muladd(of_g, g, of_m * m) / denominator, 0)), m, v


def _mu(t: np.ndarray, beta1: float, decay: float) -> np.ndarray:
    """The momentum of steps number `t`."""
    return beta1 * (1 - 0.5 * 0.96 ** (t * decay))


def _product(t: np.ndarray, beta1: float, decay: float) -> np.ndarray:
    """The product of mu over the steps up to `t`, from the first one each time: the same to the bit however steps are cut."""
    # Below 1e-17 it is as good as 0; mu is at most beta1.
    most = 1 if beta1 == 0 else math.ceil(-40 / math.log(beta1))
    steps = min(most, 2 ** int(t.max()).bit_length())
    return _products(beta1, decay, steps)[np.minimum(t, steps) - 1]


@lru_cache(maxsize=8)
def _products(beta1: float, decay: float, steps: int) -> np.ndarray:
    return np.cumprod(_mu(np.arange(1, steps + 1), beta1, decay))
