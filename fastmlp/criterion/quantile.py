"""The quantile loss."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.checks.arrays import as_array
from fastmlp.criterion.criterion import ElementwiseLoss, Form
from fastmlp.kernels.compiler.expression import select

__all__ = ["QuantileLoss"]


class QuantileLoss(ElementwiseLoss):
    """The quantile or pinball loss, averaged over all elements; its minimum is a quantile of the targets.

    ``loss = mean over n, j of max(q[j] d, (q[j] - 1) d)``, with ``d = y[n, j] - out[n, j]``

    Parameters
    ----------
    quantile : float or array_like (O,), default 0.5
        Above 0 and below 1: one for all outputs, or one for each column.
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.

    Shape: `out` ``(N, O)``; `y` the same; ``(N,)`` or ``(N, 1)`` where O is 1, or where there are several quantiles: then all
    of them are those of the same targets.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for a quantile that is not between 0 and 1.
    TypeError
        For targets that are not real numbers.

    Notes
    -----
    PyTorch has no such class. The derivative is 0 where outputs and targets agree; with a quantile of 0.5 the loss is half the
    absolute error.

    References
    ----------
    R. Koenker, G. Bassett, "Regression quantiles", Econometrica 46(1), 1978.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.QuantileLoss([0.25, 0.5, 0.75])
    >>> criterion([[0.0, 1.0, 3.0]], [2.0])
    0.4166666666666667
    >>> fm.QuantileLoss(0.75)([[1.0]], [[3.0]])
    1.5
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"quantile": 0.8}, {"quantile": "columns", "reduction": "sum"})
    quantile: Any = 0.5

    def __init__(self, quantile: Any = 0.5, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.quantile = quantile

    def _checked(self, name: str, value: Any) -> Any:
        return checks.as_vector(value, name, above=0, below=1) if name == "quantile" else super()._checked(name, value)

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        if isinstance(self.quantile, tuple) and width == len(self.quantile) > 1:
            array = as_array(y, name)
            if array.ndim == 1 or array.shape[1:] == (1,):
                one = checks.as_targets(array, 1, dtype, rows, name, finite=finite)
                return np.ascontiguousarray(np.broadcast_to(one, (len(one), width)))
        return super()._check_targets(y, width, dtype, rows, name, finite=finite)

    def _form(self) -> Form:
        if isinstance(self.quantile, tuple):
            return Form("-columns", self.value, self.slope, columns=("quantile",))
        return Form("", self.value, self.slope, constants=("quantile",))

    def _described(self) -> list[str]:
        return [checks.argument("quantile", self.quantile)]

    @staticmethod
    def value(out, y, quantile):
        d = y - out
        return select(d > 0, quantile * d, (quantile - 1) * d)

    @staticmethod
    def slope(out, y, quantile):
        return select(y > out, -quantile, select(y < out, 1 - quantile, 0))
