"""The swish in three pieces."""

from __future__ import annotations

from fastmlp.kernels.compiler.expression import select
from fastmlp.modules.activation import Activation

__all__ = ["Hardswish"]


class Hardswish(Activation):
    """The swish (SiLU) in pieces: ``y = x * min(max(x + 3, 0), 6) / 6``, with the derivative 0 at -3 and 1 at 3.

    Shape: ``(N, W)`` to ``(N, W)``. NaN stays NaN. Keeps its input for backward.

    References
    ----------
    A. Howard et al., "Searching for MobileNetV3", ICCV 2019, section 5.2.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Hardswish()([[-4.0, -1.5, 4.0]])
    array([[ 0.   , -0.375,  4.   ]], dtype=float32)
    """

    saves = "x"

    @staticmethod
    def value(x):
        return select(x <= -3, 0, select(x < 3, (x + 3) * (1 / 6) * x, x))

    @staticmethod
    def slope(x):
        return select(x <= -3, 0, select(x < 3, x * (1 / 3) + 0.5, 1))
