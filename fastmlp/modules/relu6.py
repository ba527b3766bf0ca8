"""The rectifier that ends at 6."""

from __future__ import annotations

from fastmlp.modules.activation import Activation
from fastmlp.modules.hardtanh import Hardtanh

__all__ = ["ReLU6"]


class ReLU6(Activation):
    """The rectifier up to 6: ``y = min(max(x, 0), 6)``, with the derivative 0 at 0 and at 6.

    Shape: ``(N, W)`` to ``(N, W)``. NaN stays NaN. Keeps its output for backward.

    References
    ----------
    A. Krizhevsky, "Convolutional deep belief networks on CIFAR-10", unpublished, 2010.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.ReLU6()([[-1.0, 2.0, 7.0]])
    array([[0., 2., 6.]], dtype=float32)
    """

    @staticmethod
    def value(x):
        return Hardtanh.value(x, 0, 6)

    @staticmethod
    def slope(y):
        return Hardtanh.slope(y, 0, 6)
