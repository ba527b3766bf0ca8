"""Huber's loss."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.criterion.criterion import ElementwiseLoss
from fastmlp.kernels.compiler.expression import select

__all__ = ["HuberLoss"]


class HuberLoss(ElementwiseLoss):
    """The squared error near zero and the absolute one beyond, averaged over all elements.

    ``loss = mean over n, j of d^2 / 2 where d <= delta, else delta * (d - delta / 2)``, with ``d = |out[n, j] - y[n, j]|``

    Parameters
    ----------
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.
    delta : float, default 1
        Where the two meet, above 0. It may be assigned later, which compiles nothing.

    Shape: `out` ``(N, O)``, `y` the same, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for a delta that is not above 0.
    TypeError
        For targets that are not real numbers.

    References
    ----------
    P. J. Huber, "Robust estimation of a location parameter", Annals of Mathematical Statistics 35(1), 1964.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.HuberLoss(delta=1.0)
    >>> criterion([[1.0, 2.0]], [[0.5, 4.0]])
    0.8125
    >>> criterion.backward()
    array([[ 0.25, -0.5 ]], dtype=float32)
    """

    constants = ("delta",)
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"delta": 0.3, "reduction": "sum"})

    def __init__(self, *, reduction: str = "mean", delta: float = 1.0):
        super().__init__(reduction=reduction)
        self.delta = delta

    def _checked(self, name: str, value: Any) -> Any:
        return checks.as_number(value, name, above=0) if name == "delta" else super()._checked(name, value)

    @staticmethod
    def value(out, y, delta):
        d = abs(out - y)
        return select(d <= delta, 0.5 * d * d, delta * (d - 0.5 * delta))
