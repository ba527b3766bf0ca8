"""The Kullback-Leibler divergence."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.criterion.criterion import ElementwiseLoss, Form
from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.elementary import exp, log

__all__ = ["KLDivLoss"]


class KLDivLoss(ElementwiseLoss):
    """The divergence of outputs that are log-probabilities, those of a LogSoftmax, from targets that are probabilities.

    ``loss = mean over n, j of y[n, j] (log(y[n, j]) - out[n, j])``

    Parameters
    ----------
    reduction : {"mean", "sum", "batchmean"}, default "mean"
        Over all elements; "batchmean" is the sum over the elements of a row and the mean over the rows: the divergence itself.
    log_target : bool, default False
        Whether the targets are the logarithms of probabilities.

    Shape: `out` ``(N, O)``; `y` the same, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for targets below 0, but for logarithms.
    TypeError
        For targets that are not real numbers.

    References
    ----------
    S. Kullback, R. A. Leibler, "On information and sufficiency", Annals of Mathematical Statistics 22(1), 1951.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.KLDivLoss(reduction="batchmean")
    >>> round(criterion([[-1.0, -0.5]], [[0.25, 0.75]]), 4)
    0.0627
    >>> criterion.backward()
    array([[-0.25, -0.75]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"reduction": "batchmean"},
        {"log_target": True, "reduction": "sum"},
    )
    targets: ClassVar[tuple[str, ...]] = ("distributions",)

    def __init__(self, *, reduction: str = "mean", log_target: bool = False):
        super().__init__(reduction=reduction)
        self.log_target = log_target

    def _checked(self, name: str, value: Any) -> Any:
        if name == "reduction":
            return checks.as_reduction(value, more=("batchmean",))
        return checks.as_flag(value, name) if name == "log_target" else super()._checked(name, value)

    def _check_targets(self, y: Any, width: int, dtype: np.dtype, rows: int, name: str, *, finite: bool) -> np.ndarray:
        array = checks.as_targets(y, width, dtype, rows, name, finite=finite)
        if not self.log_target:
            checks.check_kind(array, "counts", name, self)
        return array

    def _terms(self, width: int) -> int:
        return 1 if self.reduction == "batchmean" else super()._terms(width)

    def _form(self) -> Form:
        return Form("-log", self._of_logarithms, self._slope_of_logarithms) if self.log_target else super()._form()

    @staticmethod
    def value(out, y):
        return select(y > 0, y * log(y), y) - y * out

    @staticmethod
    def slope(out, y):
        return -y

    @staticmethod
    def _of_logarithms(out, y):
        return exp(y) * (y - out)

    @staticmethod
    def _slope_of_logarithms(out, y):
        return -exp(y)

    def _described(self) -> list[str]:
        return ["log_target=True"] if self.log_target else []
