"""The negative log-likelihood of labels."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp.criterion.class_loss import ClassLoss
from fastmlp.kernels.blocks.nll import NLL
from fastmlp.kernels.op import Op

__all__ = ["NLLLoss"]


class NLLLoss(ClassLoss):
    """The negative log-likelihood of labels, of outputs that are log-probabilities: those of a LogSoftmax.

    ``loss = sum over n of -weight[y[n]] out[n, y[n]] / sum over n of weight[y[n]]``

    Parameters
    ----------
    weight : array_like, (classes,), optional
        How much each class counts, at least 0.
    ignore_index : int, default -100
        Rows with this label count for nothing.
    reduction : {"mean", "sum"}, default "mean"
        Over the rows; the mean is over the weights of their labels.

    Shape: `out` ``(N, classes)``, `y` ``(N,)`` whole numbers from 0 to classes - 1.

    Raises
    ------
    ValueError
        For a label that is negative, too large or not whole, and for other shapes.
    TypeError
        For labels that are not numbers.

    Notes
    -----
    CrossEntropyLoss takes the logits themselves, which is faster and more precise. Where all rows are ignored the mean is NaN,
    and the gradient 0.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.NLLLoss(weight=[1.0, 3.0])
    >>> criterion([[-0.5, -1.0], [-2.0, -0.25]], [0, 1])
    0.3125
    >>> criterion.backward()
    array([[-0.25,  0.  ],
           [ 0.  , -0.75]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"weight": "columns"}, {"reduction": "sum"})

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean"):
        self.weight, self.ignore_index, self.reduction = weight, ignore_index, reduction

    def _op(self, width: int, *, labels: bool = True, weighted: bool = False) -> Op:
        return NLL(self._classes(width), terms=self._terms(width), weighted=weighted)
