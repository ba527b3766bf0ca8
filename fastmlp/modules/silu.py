"""The sigmoid linear unit."""

from __future__ import annotations

from fastmlp.kernels.elementary import sigmoid
from fastmlp.modules.activation import Activation

__all__ = ["SiLU"]


class SiLU(Activation):
    """The sigmoid linear unit, or swish: ``y = x / (1 + e^-x)``.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its slope for backward.

    References
    ----------
    S. Elfwing, E. Uchibe, K. Doya, "Sigmoid-weighted linear units for neural network function approximation in reinforcement
    learning", Neural Networks 107, 2018.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.SiLU()([[-1.0, 0.0, 1.0]])
    array([[-0.26894143,  0.        ,  0.7310586 ]], dtype=float32)
    """

    @staticmethod
    def value(x):
        return x * sigmoid(x)
