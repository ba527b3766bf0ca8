"""Adam."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.compiler.expression import maximum, muladd, select
from fastmlp.kernels.elementary import sqrt
from fastmlp.optim.optimizer import Optimizer
from fastmlp.parameters import Parameter

__all__ = ["Adam"]


class Adam(Optimizer):
    """Adaptive moment estimation, with PyTorch's arithmetic.

    ::

        g = grad + weight_decay * param
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

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    D. P. Kingma, J. Ba, "Adam: a method for stochastic optimization", ICLR 2015, algorithm 1; S. J. Reddi, S. Kale, S. Kumar,
    "On the convergence of Adam and beyond", ICLR 2018, algorithm 2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.Adam(model.parameters(), lr=0.01)
    Adam(lr=0.01, betas=(0.9, 0.999), eps=1e-08, weight_decay=0.0, amsgrad=False, maximize=False)
    """

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
    ):
        options = {"weight_decay": weight_decay, "amsgrad": amsgrad, "maximize": maximize}
        super().__init__(params, lr=lr, betas=betas, eps=eps, **options)

    def check(self, group: dict[str, Any]) -> dict[str, Any]:
        try:
            beta1, beta2 = group["betas"]
        except (TypeError, ValueError):
            raise TypeError(f"betas must be a pair of numbers; got {group['betas']!r}") from None
        return super().check(group) | {
            "betas": (checks.as_number(beta1, "betas[0]", below=1.0), checks.as_number(beta2, "betas[1]", below=1.0)),
            "eps": checks.as_number(group["eps"], "eps"),
            "weight_decay": checks.as_number(group["weight_decay"], "weight_decay"),
            "amsgrad": checks.as_flag(group["amsgrad"], "amsgrad"),
            "maximize": checks.as_flag(group["maximize"], "maximize"),
        }

    @property
    def state(self) -> tuple[str, ...]:  # type: ignore[override]
        largest = ("max_exp_avg_sq",) if any(group["amsgrad"] for group in self.param_groups) else ()
        return ("exp_avg", "exp_avg_sq", *largest)

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        beta1, beta2 = group["betas"]
        rate, root = -lr / (1 - beta1**t), 1 / np.sqrt(1 - beta2**t)
        sign = -1.0 if group["maximize"] else 1.0
        moments = rate, root, 1 - beta1, beta2, 1 - beta2, group["eps"], group["weight_decay"], sign
        return (*moments, float(group["amsgrad"])) if len(self.state) == 3 else moments

    @staticmethod
    def update(p, g, m, v, *rest):
        if len(rest) == 8:
            return step(p, g, m, v, None, *rest)[:3]
        largest, *scalars, amsgrad = rest
        return step(p, g, m, v, (largest, amsgrad), *scalars)


def step(p, g, m, v, largest, rate, root, new1, beta2, new2, eps, decay, sign):
    """One step; `largest` is the largest v so far and whether it counts, or None."""
    g = muladd(decay, p, sign * g)
    m = muladd(new1, g - m, m)
    v = muladd(beta2, v, new2 * g * g)
    most = v
    if largest is not None:
        so_far = maximum(largest[0], v)
        most = select(largest[1] > 0, so_far, v)
    denominator = muladd(sqrt(most), root, eps)
    p = muladd(rate, select(denominator > 0, m / denominator, 0), p)
    return (p, m, v) if largest is None else (p, m, v, so_far)
