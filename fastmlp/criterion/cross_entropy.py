"""Cross entropy of logits against labels."""

from __future__ import annotations

import numpy as np

from fastmlp import checks
from fastmlp.criterion.criterion import Criterion
from fastmlp.kernels import losses

__all__ = ["CrossEntropyLoss"]


class CrossEntropyLoss(Criterion):
    """Cross entropy of logits against integer labels, averaged over the batch.

    ``loss = mean over n of log(sum_j exp(out[n, j])) - out[n, y[n]]``

    Shape: `out` ``(N, classes)``, `y` ``(N,)`` whole numbers from 0 to classes - 1.

    Raises
    ------
    ValueError
        For a label that is negative, too large or not whole, and for other shapes.
    TypeError
        For labels that are not numbers.

    Notes
    -----
    The largest logit of a row is subtracted first, so no finite logits overflow. Keeps the probabilities for backward.

    References
    ----------
    I. Goodfellow, Y. Bengio, A. Courville, "Deep Learning", MIT Press 2016, section 6.2.2.3.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.CrossEntropyLoss()
    >>> round(criterion([[0.0, 0.0]], [1]), 4)
    0.6931
    >>> criterion.backward()
    array([[ 0.5, -0.5]], dtype=float32)
    """

    code = losses.CROSS_ENTROPY

    def forward(self, out: np.ndarray, y) -> float:
        out = self._outputs(out)
        rows, classes = out.shape
        y = self._check_targets(y, classes, out.dtype, rows, "y", finite=False)
        saved, each = np.empty_like(out), np.empty(rows, out.dtype)
        columns = np.zeros((classes + losses.SPARE_ROWS, losses.LOSS_ROWS), out.dtype)
        losses.cross_entropy_forward(each, saved, out, y, columns, classes)
        self._saved = saved, y
        return losses.loss_sum(each) / rows

    def backward(self) -> np.ndarray:
        saved, y = self._taken()
        dlogits = saved.copy()
        losses.cross_entropy_backward(dlogits, y, dlogits.dtype.type(1) / dlogits.dtype.type(len(y)))
        return dlogits

    def _check_targets(self, y, width, dtype, rows, name, *, finite):
        return checks.as_labels(y, width, rows, name)
