"""Layer normalization."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.kernels.blocks.norms import Norm
from fastmlp.kernels.op import Op
from fastmlp.modules.norm import RowNorm
from fastmlp.parameters import Parameter

__all__ = ["LayerNorm"]


class LayerNorm(RowNorm):
    """Layer normalization: ``y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, mean and variance along the row.

    Parameters
    ----------
    normalized_shape : int or tuple of one int
        The width, at least 1.
    eps : float, default 1e-5
        What is added to the variance; at least 0. It may be assigned later.
    elementwise_affine : bool, default True
        Whether there are a weight and a bias.
    bias : bool, default True
        Whether there is a bias beside the weight.
    dtype : dtype, default float32
        float32 or float64. In a :class:`Sequential`, the dtype of the whole network counts.

    Attributes
    ----------
    weight, bias : Parameter or None
        ``(width,)``; ones and zeros at first.

    Shape: ``(N, width)`` to ``(N, width)``.

    Raises
    ------
    ValueError, TypeError
        For a shape of several axes, a width that is not a whole number of at least 1, an `eps` below 0, and when called on an
        input of another width.

    Notes
    -----
    Keeps its input, and the mean and the deviation of each row, for backward. The variance is that of all numbers of the row,
    divided by the width.

    References
    ----------
    J. L. Ba, J. R. Kiros, G. E. Hinton, "Layer normalization", arXiv:1607.06450, 2016.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.LayerNorm(2)([[1.0, 3.0]]).round(4)
    array([[-1.,  1.]], dtype=float32)
    """

    bias: Parameter | None
    _vectors = _optional = ("weight", "bias")
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {"normalized_shape": "width"},
        {"normalized_shape": "width", "eps": 0.01, "bias": False},
        {"normalized_shape": "width", "elementwise_affine": False},
    )

    def __init__(
        self,
        normalized_shape: int | tuple[int],
        eps: float = 1e-5,
        elementwise_affine: bool = True,
        bias: bool = True,
        *,
        dtype=np.float32,
    ):
        super().__init__(normalized_shape, eps, elementwise_affine, dtype)
        bias = checks.as_flag(bias, "bias")
        self.bias = Parameter((self._size,), dtype) if bias and self.weight is not None else None
        self.reset_parameters()

    def reset_parameters(self, rng: int | np.random.Generator | None = None) -> None:
        """Set the weight to 1 and the bias to 0; nothing is drawn."""
        super().reset_parameters()
        if self.bias is not None:
            self.bias.data = np.zeros(self._size)

    def _ops(self, width: int) -> list[Op]:
        return [Norm(width, self._offset("weight"), self._offset("bias"), self.eps, centred=True)]

    def __repr__(self) -> str:
        no_bias = ", bias=False" * (self.weight is not None and self.bias is None)
        return f"LayerNorm({self.normalized_shape}, eps={self.eps:g}, elementwise_affine={self.elementwise_affine}{no_bias})"
