"""The leaky rectifier."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.kernels.compiler.expression import select
from fastmlp.modules.activation import Activation

__all__ = ["LeakyReLU"]


class LeakyReLU(Activation):
    """The leaky rectifier: ``y = x where x > 0, else negative_slope * x``.

    Parameters
    ----------
    negative_slope : float, default 0.01
        The slope below zero. It may be assigned later, which compiles nothing.

    Shape: ``(N, W)`` to ``(N, W)``. Keeps its input for backward.

    Raises
    ------
    ValueError, TypeError
        For a slope that is not a finite number.

    References
    ----------
    A. L. Maas, A. Y. Hannun, A. Y. Ng, "Rectifier nonlinearities improve neural network acoustic models", ICML 2013.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.LeakyReLU(0.1)([[-1.0, 2.0]])
    array([[-0.1,  2. ]], dtype=float32)
    """

    constants = ("negative_slope",)
    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"negative_slope": 0.3}, {"negative_slope": -0.5})

    def __init__(self, negative_slope: float = 0.01):
        self.negative_slope = negative_slope

    @staticmethod
    def value(x, negative_slope):
        return select(x > 0, x, negative_slope * x)
