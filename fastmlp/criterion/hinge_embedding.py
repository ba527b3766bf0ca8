"""The hinge loss of distances."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.criterion.criterion import ElementwiseLoss
from fastmlp.kernels.compiler.expression import select

__all__ = ["HingeEmbeddingLoss"]


class HingeEmbeddingLoss(ElementwiseLoss):
    """A distance itself where the target is 1, and where it is -1 what lacks to a margin; averaged over all elements.

    ``loss = mean over n, j of out[n, j] where y[n, j] is 1, else max(0, margin - out[n, j])``

    Parameters
    ----------
    margin : float, default 1
        How far apart is enough. It may be assigned later, which compiles nothing.
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.

    Shape: `out` ``(N, O)``; `y` the same, -1 or 1, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for targets that are neither -1 nor 1.
    TypeError
        For targets that are not real numbers.

    References
    ----------
    R. Hadsell, S. Chopra, Y. LeCun, "Dimensionality reduction by learning an invariant mapping", CVPR 2006.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.HingeEmbeddingLoss()
    >>> criterion([[0.5, 0.75]], [[1, -1]])
    0.375
    >>> criterion.backward()
    array([[ 0.5, -0.5]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"margin": 2.5, "reduction": "sum"})
    targets: ClassVar[tuple[str, ...]] = ("signs",)
    constants = ("margin",)

    def __init__(self, margin: float = 1.0, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.margin = margin

    @staticmethod
    def value(out, y, margin):
        return select(y > 0, out, select(margin - out < 0, 0, margin - out))
