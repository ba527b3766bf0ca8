"""The logarithm of the logistic function."""

from __future__ import annotations

from fastmlp.kernels.elementary import expm1, softplus
from fastmlp.modules.activation import Activation

__all__ = ["LogSigmoid"]


class LogSigmoid(Activation):
    """The logarithm of the logistic function: ``y = -log(1 + e^-x)``.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.LogSigmoid()([[-200.0, 0.0]])
    array([[-200.       ,   -0.6931472]], dtype=float32)
    """

    @staticmethod
    def value(x):
        return -softplus(-x)

    @staticmethod
    def slope(y):
        return -expm1(y)  # 1 - sigmoid(x)
