"""The rectifier whose slope is learned."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.prelu import PReLU as PReLUOp
from fastmlp.kernels.op import Op
from fastmlp.modules.featurewise import Featurewise
from fastmlp.parameters import Parameter

__all__ = ["PReLU"]


class PReLU(Featurewise):
    """The parametric rectifier: ``y = x where x > 0, else weight * x``, with a learned slope.

    Parameters
    ----------
    num_parameters : int, default 1
        1 for one slope, or the width for a slope of each feature.
    init : float, default 0.25
        The first value of the slopes.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.

    Attributes
    ----------
    weight : Parameter
        ``(num_parameters,)``. It should not decay: SGD's `weight_decay` draws the slope to that of a ReLU.

    Shape: ``(N, W)`` to ``(N, W)``, W any width, or `num_parameters` where there are several.

    Raises
    ------
    ValueError, TypeError
        For a number of slopes that is not a whole number of at least 1, an `init` that is not a finite number, and when called
        on an input of another width.

    Notes
    -----
    Keeps its input for backward.

    References
    ----------
    K. He, X. Zhang, S. Ren, J. Sun, "Delving deep into rectifiers: surpassing human-level performance on ImageNet
    classification", ICCV 2015, section 2.1.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.PReLU()([[-1.0, 2.0]])
    array([[-0.25,  2.  ]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"num_parameters": "width", "init": -0.5})

    def __init__(self, num_parameters: int = 1, init: float = 0.25, *, dtype=np.float32):
        self._size = checks.as_size(num_parameters, "num_parameters")
        self.init = init
        self.weight = Parameter((self._size,), dtype)
        self.reset_parameters()

    @property
    def num_parameters(self) -> int:
        """How many slopes there are."""
        return self._size

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Set all slopes to `init`; nothing is drawn."""
        self.weight.data = np.full(self._size, self.init)

    def _checked(self, name: str, value: Any) -> Any:
        if name == "init":
            return checks.as_number(value, name, least=-np.inf)
        return super()._checked(name, value)

    def _width_in(self) -> int | None:
        return self._size if self._size > 1 else None

    def _ops(self, width: int) -> list[Op]:
        return [PReLUOp(width, self._offset("weight"), self._size == 1)]

    def __repr__(self) -> str:
        return f"PReLU(num_parameters={self._size})"
