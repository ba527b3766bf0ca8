"""Cross entropy of logits against labels."""

from __future__ import annotations

from fastmlp.criterion.criterion import Criterion
from fastmlp.kernels.blocks.cross_entropy import CrossEntropy
from fastmlp.kernels.op import Op

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

    takes_labels = True

    def _op(self, width: int) -> Op:
        return CrossEntropy(width)
