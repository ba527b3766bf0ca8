"""The continuously differentiable exponential linear unit."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.elementary import expm1
from fastmlp.modules.activation import Activation

__all__ = ["CELU"]


class CELU(Activation):
    """The exponential linear unit with a slope of 1 at 0: ``y = x where x > 0, else alpha * (e^(x / alpha) - 1)``.

    Parameters
    ----------
    alpha : float, default 1
        What the output tends to far below zero is -alpha. It may be assigned later.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    Raises
    ------
    ValueError, TypeError
        For an alpha that is 0 or not a finite number.

    References
    ----------
    J. T. Barron, "Continuously differentiable exponential linear units", arXiv:1704.07483, 2017.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.CELU(0.5)([[-1.0, 2.0]])
    array([[-0.43233237,  2.        ]], dtype=float32)
    """

    constants = ("alpha",)
    # An alpha that float32 has: PyTorch 2.13 rounds it to that on the way back, in float64 too.
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"alpha": 0.375})

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    def _checked(self, name: str, value: Any) -> Any:
        value = super()._checked(name, value)
        if name == "alpha" and value == 0:
            raise ValueError("alpha must not be 0")
        return value

    def _numbers(self) -> tuple[float, ...]:
        return self.alpha, 1 / self.alpha  # a multiplication takes a fraction of the time of a division

    @staticmethod
    def value(x, alpha, inverse):
        return select(x > 0, x, alpha * expm1(inverse * x))

    @staticmethod
    def slope(y, alpha, inverse):
        return select(y > 0, 1, inverse * (y + alpha))
