"""The logarithm of the logistic function."""

from __future__ import annotations

from fastmlp.kernels.elementary import softplus
from fastmlp.modules.activation import Activation

__all__ = ["LogSigmoid"]


class LogSigmoid(Activation):
    """The logarithm of the logistic function: ``y = -log(1 + e^-x)``.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its slope for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.LogSigmoid()([[-200.0, 0.0]])
    array([[-200.       ,   -0.6931472]], dtype=float32)
    """

    @staticmethod
    def value(x):
        return -softplus(-x)
