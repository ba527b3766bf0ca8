"""A learned factor for each feature."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.scale import Scale as ScaleOp
from fastmlp.kernels.op import Op
from fastmlp.modules.featurewise import Featurewise
from fastmlp.parameters import Parameter

__all__ = ["Scale"]


class Scale(Featurewise):
    """A learned factor for each feature: ``y = x * weight``.

    Parameters
    ----------
    features : int
        The width, at least 1.
    init : float, default 1.0
        The first value of all factors.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.

    Attributes
    ----------
    weight : Parameter
        ``(features,)``.

    Shape: ``(N, features)`` to ``(N, features)``.

    Raises
    ------
    ValueError, TypeError
        For a width that is not a whole number of at least 1, an `init` that is not a finite number, and when called on an
        input of another width.

    Notes
    -----
    Keeps its input for backward. PyTorch has no such layer.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Scale(2, init=0.5)([[1.0, 2.0]])
    array([[0.5, 1. ]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"features": "width"}, {"features": "width", "init": -0.5})

    def __init__(self, features: int, init: float = 1.0, *, dtype=np.float32):
        self._size = checks.as_size(features, "features")
        self.init = init
        self.weight = Parameter((self._size,), dtype)
        self.reset_parameters()

    @property
    def features(self) -> int:
        """The width."""
        return self._size

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Set all factors to `init`; nothing is drawn."""
        self.weight.data = np.full(self._size, self.init)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "init":
            return checks.as_number(value, name, least=-np.inf)
        return super()._checked(name, value)

    def _ops(self, width: int) -> list[Op]:
        return [ScaleOp(width, self._offset("weight"))]

    def __repr__(self) -> str:
        return f"Scale({self._size}{f', init={self.init:g}' * (self.init != 1)})"
