"""The exponential linear unit."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.elementary import expm1
from fastmlp.modules.activation import Activation, Formulas

__all__ = ["ELU"]


class ELU(Activation):
    """The exponential linear unit: ``y = x where x > 0, else alpha * (e^x - 1)``.

    Parameters
    ----------
    alpha : float, default 1
        What the output tends to far below zero is -alpha. It may be assigned later.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward; with an alpha below 0 its slope.

    Raises
    ------
    ValueError, TypeError
        For an alpha that is not a finite number.

    References
    ----------
    D.-A. Clevert, T. Unterthiner, S. Hochreiter, "Fast and accurate deep network learning by exponential linear units (ELUs)",
    ICLR 2016.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.ELU()([[-1.0, 2.0]])
    array([[-0.63212055,  2.        ]], dtype=float32)
    """

    constants = ("alpha",)
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"alpha": 0.3}, {"alpha": -0.5})

    def __init__(self, alpha: float = 1.0):
        self.alpha = alpha

    @staticmethod
    def value(x, alpha):
        return select(x > 0, x, alpha * expm1(x))

    @staticmethod
    def slope(y, alpha):
        return select(y > 0, 1, y + alpha)

    def _formulas(self) -> Formulas:
        # Below an alpha of 0 the sign of y is not that of x.
        return super()._formulas() if self.alpha >= 0 else (self.value, None, "slope")
