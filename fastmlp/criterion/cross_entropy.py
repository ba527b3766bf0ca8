"""Cross entropy of logits against labels or probabilities."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.checks.arrays import as_array
from fastmlp.criterion.class_loss import ClassLoss
from fastmlp.kernels.blocks.cross_entropy import CrossEntropy
from fastmlp.kernels.blocks.soft_cross_entropy import SoftCrossEntropy
from fastmlp.kernels.op import Op

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(ClassLoss):
    """Cross entropy of logits against integer labels, or against probabilities of the classes.

    ``loss = mean over n of log(sum_j exp(out[n, j])) - out[n, y[n]]``, or in general ``-sum_j weight[j] t[n, j] log p[n, j]``
    for each row, with ``p = softmax(out)``, ``t[n, j] = (1 - s) y[n, j] + s / classes`` and ``s = label_smoothing``.

    Parameters
    ----------
    weight : array_like, (classes,), optional
        How much each class counts, at least 0. Against labels the mean is then over the weights of the labels: ``sum over n of
        loss[n] / sum over n of weight[y[n]]``; against probabilities over the rows. As everywhere in PyTorch.
    ignore_index : int, default -100
        Rows with this label count for nothing.
    reduction : {"mean", "sum"}, default "mean"
        Over the rows.
    label_smoothing : float, default 0
        How much of each target is spread over all classes alike, from 0 to 1.

    Shape: `out` ``(N, classes)``; `y` ``(N,)`` whole numbers from 0 to classes - 1, or ``(N, classes)`` of a floating dtype.

    Raises
    ------
    ValueError
        For a label that is negative, too large or not whole, and for other shapes.
    TypeError
        For labels that are not numbers.

    Notes
    -----
    The largest logit of a row is subtracted first, so no finite logits overflow. Keeps the probabilities for backward. Where
    all rows are ignored the mean is NaN, and the gradient 0.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press 2016, section 6.2.2.3.

    C. Szegedy et al., "Rethinking the Inception architecture for computer vision", CVPR 2016, section 7 (smoothed labels).

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.CrossEntropyLoss()
    >>> round(criterion([[0.0, 0.0]], [1]), 4)
    0.6931
    >>> criterion.backward()
    array([[ 0.5, -0.5]], dtype=float32)
    >>> round(criterion([[0.0, 0.0]], [[0.5, 0.5]]), 4)
    0.6931
    """

    targets: ClassVar[tuple[str, ...]] = ("labels", "distributions")
    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"label_smoothing": 0.1, "reduction": "sum"},
        {"weight": "columns", "label_smoothing": 0.3},
    )

    def __init__(self, weight: Any = None, *, ignore_index: int = -100, reduction: str = "mean", label_smoothing: float = 0.0):
        self.weight, self.ignore_index = weight, ignore_index
        self.reduction, self.label_smoothing = reduction, label_smoothing

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        if type(y) is not np.ndarray or y.ndim != 1:
            array = as_array(y, name)
            if array.ndim == 2 and array.dtype.kind == "f" and array.shape[1] == width:
                if self.ignore_index is not None and self.ignore_index >= 0:
                    raise ValueError(f"ignore_index is for labels; {name} has probabilities of the classes")
                return checks.as_targets(array, width, dtype, rows, name, finite=finite)
        return checks.as_labels(y, width, rows, name, ignored=self.ignore_index)

    def _checked(self, name: str, value: Any) -> Any:
        return checks.as_number(value, name, most=1) if name == "label_smoothing" else super()._checked(name, value)

    def _op(self, width: int, *, labels: bool = True, weighted: bool = False) -> Op:
        if labels and not weighted and self.weight is None and not self.label_smoothing:
            return CrossEntropy(width, terms=self._terms(width))
        return SoftCrossEntropy(
            self._classes(width), self.label_smoothing, labels=labels, terms=self._terms(width), weighted=weighted
        )

    def _described(self) -> list[str]:
        return super()._described() + ([f"label_smoothing={self.label_smoothing:g}"] if self.label_smoothing else [])
