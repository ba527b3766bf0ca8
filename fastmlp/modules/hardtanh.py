"""The hyperbolic tangent in three straight pieces."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.kernels.compiler.expression import select
from fastmlp.modules.activation import Activation

__all__ = ["Hardtanh"]


class Hardtanh(Activation):
    """The identity between two bounds: ``y = min(max(x, min_val), max_val)``, with the derivative 0 at the bounds.

    Parameters
    ----------
    min_val, max_val : float, default -1 and 1
        The bounds. They may be assigned later.

    Shape: ``(N, W)`` to ``(N, W)``. NaN stays NaN. Keeps its output for backward.

    Raises
    ------
    ValueError, TypeError
        For bounds that are not finite numbers, and for a max_val that is not above min_val.

    References
    ----------
    R. Collobert, "Large scale machine learning", thesis, Paris VI, 2004.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Hardtanh(-1.0, 2.0)([[-3.0, 0.5, 3.0]])
    array([[-1. ,  0.5,  2. ]], dtype=float32)
    """

    constants = ("min_val", "max_val")
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"min_val": -0.5, "max_val": 2.0})

    def __init__(self, min_val: float = -1.0, max_val: float = 1.0):
        self.min_val = min_val
        self.max_val = max_val

    def _checked(self, name: str, value: Any) -> Any:
        value = super()._checked(name, value)
        if name in self.constants:
            bounds = {key: getattr(self, key, None) for key in self.constants} | {name: value}
            low, high = bounds["min_val"], bounds["max_val"]
            if low is not None and high is not None and not low < high:
                raise ValueError(f"max_val must be above min_val; got min_val={low:g}, max_val={high:g}")
        return value

    @staticmethod
    def value(x, min_val, max_val):
        return select(x < min_val, min_val, select(x > max_val, max_val, x))

    @staticmethod
    def slope(y, min_val, max_val):
        return select((y > min_val) & (y < max_val), 1, 0)
