"""The hyperbolic tangent."""

from __future__ import annotations

from fastmlp.kernels.elementary import tanh
from fastmlp.modules.activation import Activation

__all__ = ["Tanh"]


class Tanh(Activation):
    """The hyperbolic tangent: ``y = tanh(x)``, within 2 units in the last place.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its output for backward.

    References
    ----------
    Y. LeCun et al., "Efficient BackProp", section 4.4, 1998.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Tanh()([[0.0, 0.5]])
    array([[0.        , 0.46211717]], dtype=float32)
    """

    value = staticmethod(tanh)

    @staticmethod
    def slope(y):
        return 1 - y * y
