"""The hinge loss of several classes."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.criterion.class_loss import ClassLoss
from fastmlp.kernels.blocks.multi_margin import MultiMargin
from fastmlp.kernels.op import Op

__all__ = ["MultiMarginLoss"]


class MultiMarginLoss(ClassLoss):
    """The hinge of several classes: the output of the label is to be larger than each other one by a margin.

    ``loss = mean over n of weight[y[n]] sum over j != y[n] of max(0, margin - out[n, y[n]] + out[n, j])^p / classes``

    Parameters
    ----------
    p : {1, 2}, default 1
        The exponent.
    margin : float, default 1
        How much larger.
    weight : array_like, (classes,), optional
        How much each class counts, at least 0. The mean is over the rows.
    reduction : {"mean", "sum"}, default "mean"
        Over the rows.

    Shape: `out` ``(N, classes)``, `y` ``(N,)`` whole numbers from 0 to classes - 1.

    Raises
    ------
    ValueError
        For a label that is negative, too large or not whole, and for other shapes.
    TypeError
        For labels that are not numbers.

    References
    ----------
    K. Crammer, Y. Singer, "On the algorithmic implementation of multiclass kernel-based vector machines", JMLR 2, 2001.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.MultiMarginLoss()
    >>> criterion([[0.5, 1.0]], [1])
    0.25
    >>> criterion.backward()
    array([[ 0.5, -0.5]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"p": 2, "margin": 0.5, "weight": "columns", "reduction": "sum"})
    _mean_over_classes = False

    def __init__(self, p: int = 1, margin: float = 1.0, weight: Any = None, *, reduction: str = "mean"):
        self.p, self.margin, self.weight, self.reduction = p, margin, weight, reduction

    def _checked(self, name: str, value: Any) -> Any:
        if name == "p":
            if checks.as_size(value, name) > 2:
                raise ValueError(f"p must be 1 or 2; got {checks.shown(value)}")
            return int(value)
        return checks.as_number(value, name, least=-float("inf")) if name == "margin" else super()._checked(name, value)

    def _op(self, width: int, *, labels: bool = True, weighted: bool = False) -> Op:
        classes, terms = self._classes(width), self._terms(width)
        return MultiMargin(classes, self.margin, squared=self.p == 2, terms=terms, weighted=weighted)

    def _described(self) -> list[str]:
        return [f"p={self.p}", f"margin={self.margin:g}", *super()._described()]
