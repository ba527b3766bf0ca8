"""The Gaussian error linear unit."""

from __future__ import annotations

import math
from typing import Any, ClassVar

from fastmlp.kernels.compiler.expression import muladd
from fastmlp.kernels.elementary import normal_cdf, tanh
from fastmlp.modules.activation import Activation, Formulas

__all__ = ["GELU"]


class GELU(Activation):
    """The Gaussian error linear unit: ``y = x * P(X <= x)`` for a standard normal X.

    Parameters
    ----------
    approximate : {"none", "tanh"}, default "none"
        "tanh" for ``y = x / 2 * (1 + tanh(sqrt(2 / pi) * (x + 0.044715 * x^3)))``.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its slope for backward.

    Raises
    ------
    ValueError
        For another `approximate`.

    References
    ----------
    D. Hendrycks, K. Gimpel, "Gaussian error linear units (GELUs)", arXiv:1606.08415, 2016.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.GELU()([[-1.0, 0.0, 1.0]])
    array([[-0.15865526,  0.        ,  0.8413447 ]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"approximate": "tanh"})

    def __init__(self, approximate: str = "none"):
        self.approximate = approximate

    @staticmethod
    def value(x):
        return x * normal_cdf(x)

    @staticmethod
    def approximation(x):
        """The formula with tanh."""
        half = x / 2
        return muladd(half, tanh(math.sqrt(2 / math.pi) * muladd(0.044715 * x * x, x, x)), half)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "approximate" and value not in ("none", "tanh"):
            raise ValueError(f'approximate must be "none" or "tanh"; got {value!r}')
        return value

    def _formulas(self) -> Formulas:
        return super()._formulas() if self.approximate == "none" else (self.approximation, None, "slope")

    def __repr__(self) -> str:
        return f"GELU(approximate={self.approximate!r})"
