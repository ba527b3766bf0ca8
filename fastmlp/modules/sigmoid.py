"""The logistic function."""

from __future__ import annotations

from fastmlp.kernels.elementary import sigmoid
from fastmlp.modules.activation import Activation

__all__ = ["Sigmoid"]


class Sigmoid(Activation):
    """The logistic function: ``y = 1 / (1 + exp(-x))``, within 3 units in the last place.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Sigmoid()([[0.0, -200.0]])
    array([[0.5, 0. ]], dtype=float32)
    """

    value = staticmethod(sigmoid)

    @staticmethod
    def slope(y):
        return y * (1 - y)
