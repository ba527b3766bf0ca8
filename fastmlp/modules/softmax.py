"""Softmax along a row."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.kernels.blocks.softmax import Softmax as SoftmaxOp
from fastmlp.kernels.op import Op
from fastmlp.modules.module import Module

__all__ = ["Softmax"]


class Softmax(Module):
    """Softmax along the row: ``y = exp(x) / sum(exp(x))``, the largest number of the row subtracted first.

    Not before a :class:`CrossEntropyLoss`, which takes logits.

    Parameters
    ----------
    dim : int, optional
        1 or -1, the features of a row. None is the same, as in PyTorch for inputs of two axes.

    Shape: ``(N, W)`` to ``(N, W)``.

    Raises
    ------
    ValueError
        For another axis.

    Notes
    -----
    Keeps its output for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.Softmax(dim=1)([[0.0, 0.0, 1e30]])
    array([[0., 0., 1.]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({"dim": 1},)
    _logarithm = False

    def __init__(self, dim: int | None = None):
        self.dim = dim

    def _checked(self, name: str, value: Any) -> Any:
        if name == "dim" and value is not None:
            value = checks.as_size(value, "dim", least=-1)
            if value not in (1, -1):
                raise ValueError(
                    f"dim must be 1 or -1, the features of a row, for rows do not depend on each other; got {value}"
                )
        return value

    def _width_out(self, width: int | None) -> int | None:
        return width

    def _ops(self, width: int) -> list[Op]:
        return [SoftmaxOp(width, self._logarithm)]

    def __repr__(self) -> str:
        return f"{type(self).__name__}(dim={self.dim})"
