"""Rprop."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.optim import rules
from fastmlp.optim.optimizer import Optimizer
from fastmlp.optim.scalars import sign
from fastmlp.parameters import Parameter

__all__ = ["Rprop"]


class Rprop(Optimizer):
    """Resilient propagation: the signs of the gradients alone count, with PyTorch's arithmetic.

    ::

        factor = etas[1] where grad * prev is above 0, etas[0] where it is below 0, else 1
        step_size = clamp(factor * step_size, *step_sizes)                       (step_size = lr at first)
        prev = 0 where grad * prev is below 0, else grad
        param = param - sign(prev) * step_size

    It is for full batches, ``fit(..., batch_size=len(X), shuffle=False)``: between two batches, signs differ by chance.

    Parameters
    ----------
    params : iterable of Parameter, or of dict
        ``model.parameters()``, or groups with hyperparameters of their own.
    lr : float, default 0.01
        The first size of a step, at least 0.
    etas : (float, float), default (0.5, 1.2)
        What sizes shrink and grow by, ``0 < etas[0] < 1 < etas[1]``.
    step_sizes : (float, float), default (1e-6, 50)
        The least and the largest size of a step.
    maximize : bool, default False
        Whether the parameters follow the gradient upwards.

    Raises
    ------
    ValueError, TypeError
        For numbers outside these bounds, and for params that are not Parameters.

    References
    ----------
    M. Riedmiller, H. Braun, "A direct adaptive method for faster backpropagation learning: the RPROP algorithm", ICNN 1993;
    C. Igel, M. Hüsken, "Improving the Rprop learning algorithm", NC 2000: Rprop-.

    Examples
    --------
    >>> import fastmlp as fm
    >>> model = fm.Sequential(fm.Linear(2, 1))
    >>> fm.Rprop(model.parameters())
    Rprop(lr=0.01, etas=(0.5, 1.2), step_sizes=(1e-06, 50.0), maximize=False)
    """

    state = ("prev", "step_size")
    rules: ClassVar = {
        "etas": partial(checks.as_pair, above=0.0),
        "step_sizes": checks.as_pair,
        "maximize": rules.flag,
    }
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"lr": 0.01},
        {"lr": 0.02, "etas": (0.6, 1.5), "step_sizes": (0.005, 0.05), "maximize": True},
    )

    def __init__(
        self,
        params: Iterable[Parameter],
        lr: float = 0.01,
        etas: tuple[float, float] = (0.5, 1.2),
        step_sizes: tuple[float, float] = (1e-6, 50.0),
        *,
        maximize: bool = False,
    ):
        super().__init__(params, lr=lr, etas=etas, step_sizes=step_sizes, maximize=maximize)

    def check(self, group: dict[str, Any]) -> dict[str, Any]:
        checked = super().check(group)
        (shrink, grow), (least, most) = checked["etas"], checked["step_sizes"]
        if not shrink < 1 < grow:
            raise ValueError(f"etas must lie on both sides of 1, 0 < etas[0] < 1 < etas[1]; got {checked['etas']}")
        if least > most:
            raise ValueError(f"step_sizes must be the least one and the largest; got {checked['step_sizes']}")
        return checked

    def scalars(self, group: dict[str, Any], t: np.ndarray, lr: np.ndarray) -> tuple[Any, ...]:
        return lr, *group["etas"], *group["step_sizes"], sign(group)

    @staticmethod
    def update(p, g, before, size, lr, shrink, grow, least, most, sign):
        g = sign * g
        agreement = g * before
        size = select(size == 0, lr, size) * select(agreement > 0, grow, select(agreement < 0, shrink, 1))
        size = select(size < least, least, size)
        size = select(size > most, most, size)
        g = select(agreement < 0, 0, g)
        return muladd(select(g > 0, -1, select(g < 0, 1, 0)), size, p), g, size
