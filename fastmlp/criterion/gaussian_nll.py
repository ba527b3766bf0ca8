"""The negative log-likelihood of a normal distribution."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.criterion.criterion import Criterion
from fastmlp.kernels.blocks.gaussian_nll import GaussianNLL
from fastmlp.kernels.op import Op

__all__ = ["GaussianNLLLoss"]


class GaussianNLLLoss(Criterion):
    """The negative log-likelihood of targets from normal distributions, of which the network gives means and variances.

    ``loss = mean over n, j of (log(v[n, j]) + (mean[n, j] - y[n, j])^2 / v[n, j]) / 2``, with ``v = max(exp(s), eps)``

    The outputs are twice as many as the targets: first the means, then the logarithms s of the variances, which may be any
    numbers. ``loss(out, y)`` is PyTorch's ``loss(out[:, :O], y, out[:, O:].exp())``.

    Parameters
    ----------
    full : bool, default False
        Whether the constant ``log(2 pi) / 2`` is added.
    eps : float, default 1e-6
        The least variance, above 0. It may be assigned later, which compiles nothing.
    reduction : {"mean", "sum"}, default "mean"
        Over all targets.

    Shape: `out` ``(N, 2 O)``; `y` ``(N, O)``, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For outputs of an odd number, and for other shapes.
    TypeError
        For targets that are not real numbers.

    Notes
    -----
    As in PyTorch, a variance below `eps` is computed with as `eps`, but its gradient goes on: it may leave that place again.

    References
    ----------
    D. A. Nix, A. S. Weigend, "Estimating the mean and variance of the target probability distribution", ICNN 1994.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.GaussianNLLLoss()
    >>> criterion([[3.0, 0.0]], [1.0])
    2.0
    >>> criterion.backward()
    array([[ 2. , -1.5]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"full": True, "eps": 0.01, "reduction": "sum"})
    outputs: ClassVar[str] = "pairs"

    def __init__(self, *, full: bool = False, eps: float = 1e-6, reduction: str = "mean"):
        self.full, self.eps, self.reduction = full, eps, reduction

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        return checks.as_targets(y, _half(width), dtype, rows, name, finite=finite, squared=True)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "full":
            return checks.as_flag(value, name)
        return checks.as_number(value, name, above=0) if name == "eps" else super()._checked(name, value)

    def _op(self, width: int, *, labels: bool = False, weighted: bool = False) -> Op:
        constant = 0.5 * math.log(2 * math.pi) if self.full else 0.0
        return GaussianNLL(_half(width) * 2, math.log(self.eps), constant, terms=self._terms(width), weighted=weighted)

    def _terms(self, width: int) -> int:
        return width // 2 if self.reduction == "mean" else 0

    def _described(self) -> list[str]:
        return [f"full={self.full}", f"eps={self.eps:g}"]


def _half(width: int) -> int:
    """How many means there are among so many outputs."""
    if width % 2:
        raise ValueError(f"GaussianNLLLoss takes two outputs for each target, means and logarithms of variances; got {width}")
    return width // 2
