"""The scaled exponential linear unit."""

from __future__ import annotations

from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.elementary import expm1
from fastmlp.modules.activation import Activation

__all__ = ["SELU"]

# With these, outputs keep mean 0 and variance 1 from layer to layer: equation 14 of the article.
ALPHA, SCALE = 1.6732632423543772848170429916717, 1.0507009873554804934193349852946


class SELU(Activation):
    """The scaled exponential linear unit: ``y = scale * x where x > 0, else scale * alpha * (e^x - 1)``.

    The scale is 1.0507..., alpha 1.6732...

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    References
    ----------
    G. Klambauer, T. Unterthiner, A. Mayr, S. Hochreiter, "Self-normalizing neural networks", NIPS 2017.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.SELU()([[-1.0, 2.0]])
    array([[-1.1113307,  2.101402 ]], dtype=float32)
    """

    @staticmethod
    def value(x):
        # At least x: the product is flushed to 0 where it is subnormal, and the slope is to be that of a number above 0.
        scaled = SCALE * x
        return select(x > 0, select(scaled > x, scaled, x), (SCALE * ALPHA) * expm1(x))

    @staticmethod
    def slope(y):
        return select(y > 0, SCALE, y + SCALE * ALPHA)
