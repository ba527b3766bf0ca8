"""The logistic function in three straight pieces."""

from __future__ import annotations

from fastmlp.kernels.compiler.expression import select
from fastmlp.modules.activation import Activation
from fastmlp.modules.hardtanh import Hardtanh

__all__ = ["Hardsigmoid"]


class Hardsigmoid(Activation):
    """The logistic function in straight pieces: ``y = min(max(x + 3, 0), 6) / 6``, with the derivative 0 at -3 and at 3.

    Shape: ``(N, W)`` to ``(N, W)``. NaN stays NaN. Keeps its input for backward.

    References
    ----------
    M. Courbariaux, Y. Bengio, J.-P. David, "BinaryConnect: training deep neural networks with binary weights during
    propagations", NIPS 2015.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Hardsigmoid()([[-4.0, 0.0, 4.0]])
    array([[0. , 0.5, 1. ]], dtype=float32)
    """

    saves = "x"

    @staticmethod
    def value(x):
        return Hardtanh.value(x + 3, 0, 6) * (1 / 6)

    @staticmethod
    def slope(x):
        return select((x > -3) & (x < 3), 1 / 6, 0)
