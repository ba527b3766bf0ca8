"""The rectifier."""

from __future__ import annotations

from fastmlp.kernels.compiler.expression import select
from fastmlp.modules.activation import Activation

__all__ = ["ReLU"]


class ReLU(Activation):
    """The rectifier: ``y = max(x, 0)``, with the derivative 0 at 0.

    Shape: ``(N, W)`` to ``(N, W)``. NaN stays NaN. Keeps its output for backward.

    References
    ----------
    X. Glorot, A. Bordes, Y. Bengio, "Deep sparse rectifier neural networks", AISTATS 2011.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.ReLU()([[-1.0, 2.0]])
    array([[0., 2.]], dtype=float32)
    """

    floor = 0.0

    @staticmethod
    def value(x):
        return select(x < 0, 0, x)

    @staticmethod
    def slope(y):
        return select(y > 0, 1, 0)
