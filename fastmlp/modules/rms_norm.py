"""Root mean square normalization."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp.kernels.blocks.norms import Norm
from fastmlp.kernels.op import Op
from fastmlp.modules.norm import RowNorm

__all__ = ["RMSNorm"]


class RMSNorm(RowNorm):
    """Root mean square normalization: ``y = x / sqrt(mean(x^2) + eps) * weight``, the mean along the row.

    Parameters
    ----------
    normalized_shape : int or tuple of one int
        The width, at least 1.
    eps : float, optional
        What is added to the mean square; at least 0. None is the distance of 1 to the next number of the dtype. It may be
        assigned later.
    elementwise_affine : bool, default True
        Whether there is a weight.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.

    Attributes
    ----------
    weight : Parameter or None
        ``(width,)``; ones at first.

    Shape: ``(N, width)`` to ``(N, width)``.

    Raises
    ------
    ValueError, TypeError
        For a shape of several axes, a width that is not a whole number of at least 1, an `eps` below 0, and when called on an
        input of another width.

    Notes
    -----
    Keeps its input, and the mean square of each row, for backward.

    References
    ----------
    B. Zhang, R. Sennrich, "Root mean square layer normalization", NeurIPS 2019.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.RMSNorm(2)([[3.0, 4.0]]).round(4)
    array([[0.8485, 1.1314]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"normalized_shape": "width"},
        {"normalized_shape": "width", "eps": 0.01, "elementwise_affine": False},
    )

    def __init__(
        self,
        normalized_shape: int | tuple[int],
        eps: float | None = None,
        elementwise_affine: bool = True,
        *,
        dtype=np.float32,
    ):
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)
        self.reset_parameters()

    def _checked(self, name: str, value: Any) -> Any:
        return None if name == "eps" and value is None else super()._checked(name, value)

    def _ops(self, width: int) -> list[Op]:
        return [Norm(width, self._offset("weight"), -1, self.eps, centred=False)]

    def __repr__(self) -> str:
        eps = None if self.eps is None else f"{self.eps:g}"
        return f"RMSNorm({self.normalized_shape}, eps={eps}, elementwise_affine={self.elementwise_affine})"
