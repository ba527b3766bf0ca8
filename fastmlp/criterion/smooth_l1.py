"""The smooth absolute error."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.criterion.criterion import ElementwiseLoss
from fastmlp.kernels.compiler.expression import select

__all__ = ["SmoothL1Loss"]


class SmoothL1Loss(ElementwiseLoss):
    """The squared error near zero and the absolute one beyond, averaged over all elements: Huber's loss divided by `beta`.

    ``loss = mean over n, j of d^2 / (2 beta) where d < beta, else d - beta / 2``, with ``d = |out[n, j] - y[n, j]|``

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.
    beta : float, default 1
        Where the two meet, at least 0: with 0 it is the absolute error. It may be assigned later, which compiles nothing.

    Shape: `out` ``(N, O)``, `y` the same, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for a beta below 0.
    TypeError
        For targets that are not real numbers.

    References
    ----------
    R. Girshick, "Fast R-CNN", ICCV 2015, section 2.3.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.SmoothL1Loss(beta=0.5)
    >>> criterion([[1.0, 2.0]], [[0.75, 4.0]])
    0.90625
    >>> criterion.backward()
    array([[ 0.25, -0.5 ]], dtype=float32)
    """

    constants = ("beta",)
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"beta": 0.3, "reduction": "sum"}, {"beta": 0.0})

    def __init__(self, *, reduction: str = "mean", beta: float = 1.0):
        super().__init__(reduction=reduction)
        self.beta = beta

    def _checked(self, name: str, value: Any) -> Any:
        return checks.as_number(value, name) if name == "beta" else super()._checked(name, value)

    @staticmethod
    def value(out, y, beta):
        d = abs(out - y)
        return select(d < beta, 0.5 * d * d / beta, d - 0.5 * beta)

    @staticmethod
    def slope(out, y, beta):
        d = out - y
        return select(abs(d) < beta, d / beta, select(d > 0, 1, select(d < 0, -1, 0)))
