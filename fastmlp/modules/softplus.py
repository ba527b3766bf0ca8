"""Softplus."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.elementary import sigmoid_beside_softplus, softplus
from fastmlp.modules.activation import Activation

__all__ = ["Softplus"]


class Softplus(Activation):
    """A smooth rectifier: ``y = log(1 + e^(beta * x)) / beta``, and x itself where ``beta * x > threshold``.

    Parameters
    ----------
    beta : float, default 1
        How sharp the bend is. It may be assigned later, as `threshold` may.
    threshold : float, default 20
        Where the line begins.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its slope for backward.

    Raises
    ------
    ValueError, TypeError
        For a beta that is 0, and for what is not a finite number.

    References
    ----------
    C. Dugas et al., "Incorporating second-order functional knowledge for better option pricing", NIPS 2000.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Softplus()([[-30.0, 0.0, 30.0]])
    array([[9.357623e-14, 6.931472e-01, 3.000000e+01]], dtype=float32)
    """

    constants = ("beta", "threshold")
    saves = "slope"
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"beta": 0.5, "threshold": 3.0})

    def __init__(self, beta: float = 1.0, threshold: float = 20.0):
        self.beta, self.threshold = beta, threshold

    def _checked(self, name: str, value: Any) -> Any:
        value = super()._checked(name, value)
        if name == "beta" and value == 0:
            raise ValueError("beta must not be 0")
        return value

    def _numbers(self) -> tuple[float, ...]:
        return self.beta, 1 / self.beta, self.threshold  # a multiplication takes a fraction of the time of a division

    @staticmethod
    def value(x, beta, inverse, threshold):
        z = beta * x
        return select(z > threshold, x, inverse * softplus(z))

    @staticmethod
    def slope(x, beta, inverse, threshold):
        z = beta * x
        return select(z > threshold, 1, sigmoid_beside_softplus(z))
