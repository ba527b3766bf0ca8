"""Mean squared error."""

from __future__ import annotations

import numpy as np

from fastmlp import checks
from fastmlp.criterion.criterion import Criterion
from fastmlp.kernels import losses

__all__ = ["MSELoss"]


class MSELoss(Criterion):
    """The squared error, averaged over all elements.

    ``loss = mean over n, j of (out[n, j] - y[n, j])^2``

    Shape: `out` ``(N, O)``, `y` the same, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes. Nothing is broadcast.
    TypeError
        For targets that are not real numbers.

    Notes
    -----
    Keeps the differences for backward.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.MSELoss()
    >>> criterion([[1.0, 2.0]], [[0.0, 4.0]])
    2.5
    >>> criterion.backward()
    array([[ 1., -2.]], dtype=float32)
    """

    code = losses.MSE

    def forward(self, out: np.ndarray, y) -> float:
        out = self._outputs(out)
        rows, width = out.shape
        y = self._check_targets(y, width, out.dtype, rows, "y", finite=False)
        saved, each = np.empty_like(out), np.empty(rows, out.dtype)
        losses.mse_forward(each, saved, out, y, width)
        self._saved = saved
        return losses.loss_sum(each) / (rows * width)

    def backward(self) -> np.ndarray:
        doutputs = self._taken().copy()
        scalar = doutputs.dtype.type
        losses.mse_backward(doutputs, scalar(2) / scalar(doutputs.size))
        return doutputs

    def _check_targets(self, y, width, dtype, rows, name, *, finite):
        return checks.as_targets(y, width, dtype, rows, name, finite=finite)
