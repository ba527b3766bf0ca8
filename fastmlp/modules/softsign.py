"""Softsign."""

from __future__ import annotations

from fastmlp.modules.activation import Activation

__all__ = ["Softsign"]


class Softsign(Activation):
    """Softsign: ``y = x / (1 + |x|)``.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    References
    ----------
    J. Turian, J. Bergstra, Y. Bengio, "Quadratic features and deep architectures for chunking", NAACL HLT 2009.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Softsign()([[-3.0, 0.0, 1.0]])
    array([[-0.75,  0.  ,  0.5 ]], dtype=float32)
    """

    @staticmethod
    def value(x):
        return x / (1 + abs(x))

    @staticmethod
    def slope(y):
        d = 1 - abs(y)  # 1 / (1 + |x|)
        return d * d
