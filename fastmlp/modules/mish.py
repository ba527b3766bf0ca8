"""Mish."""

from __future__ import annotations

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.elementary import exp
from fastmlp.modules.activation import Activation

__all__ = ["Mish"]

#: From here on y is x, in either dtype, and the slope is 1; and the square of e^x is far from overflow.
LARGE = 20


class Mish(Activation):
    """Mish: ``y = x * tanh(log(1 + e^x))``.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its slope for backward.

    Notes
    -----
    With ``e = e^x`` the hyperbolic tangent is ``n / (n + 2)``, where ``n = e * (e + 2)``: one exponential and one division,
    without cancellation.

    References
    ----------
    D. Misra, "Mish: a self regularized non-monotonic activation function", BMVC 2020.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Mish()([[-1.0, 0.0, 1.0]]).round(4)
    array([[-0.3034,  0.    ,  0.8651]], dtype=float32)
    """

    saves = "slope"

    @staticmethod
    def value(x):
        e = exp(select(x > LARGE, LARGE, x))
        n = e * (e + 2)
        return x * (n * (1 / (n + 2)))

    @staticmethod
    def slope(x):
        large = x > LARGE
        e = exp(select(large, LARGE, x))
        n = e * (e + 2)
        inverse = 1 / (n + 2)
        # t + x dt/dx, where t = n / (n + 2) and dt/dx = 4 e (e + 1) / (n + 2)^2.
        return muladd(select(large, 0, x), 4 * e * (e + 1) * inverse, n) * inverse
