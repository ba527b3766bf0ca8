"""Binary cross entropy of probabilities."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.criterion.criterion import ElementwiseLoss, Form
from fastmlp.kernels.compiler.expression import maximum
from fastmlp.kernels.elementary import log, log1p

__all__ = ["BCELoss"]

#: The least `p (1 - p)` that a derivative is divided by: PyTorch's 1e-12, a float32 there whatever the dtype.
LEAST = float(np.float32(1e-12))


def value(out, y):
    """The loss of a probability; logarithms are at least -100."""
    return (y - 1) * maximum(log1p(-out), -100) - y * maximum(log(out), -100)


def slope(out, y):
    """Its derivative; where the probability is 0 or 1 it is large, but finite."""
    return (out - y) / maximum((1 - out) * out, LEAST)


class BCELoss(ElementwiseLoss):
    """Binary cross entropy of outputs that are probabilities, those of a Sigmoid, averaged over all elements.

    ``loss = mean over n, j of -weight[j] (y[n, j] log(out[n, j]) + (1 - y[n, j]) log(1 - out[n, j]))``

    Parameters
    ----------
    weight : float or array_like (O,), optional
        How much each column of the outputs counts, at least 0. Weights of rows are the `sample_weight` of a call, or of `fit`.
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.

    Shape: `out` ``(N, O)``, from 0 to 1; `y` the same, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for targets or outputs that are not from 0 to 1.
    TypeError
        For targets that are not real numbers.

    Notes
    -----
    Logarithms are at least -100, as in PyTorch, so that probabilities of exactly 0 and 1 have a loss. BCEWithLogitsLoss takes
    the numbers before the Sigmoid, which is more precise and faster. In `fit`, outputs beyond 0 and 1 end the run, as their
    loss is NaN.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.BCELoss()
    >>> round(criterion([[0.5, 1.0]], [[1.0, 1.0]]), 4)
    0.3466
    >>> criterion.backward()
    array([[-1.,  0.]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"weight": "columns", "reduction": "sum"})
    targets: ClassVar[tuple[str, ...]] = ("probabilities",)
    outputs: ClassVar[str] = "probabilities"

    value, slope = staticmethod(value), staticmethod(slope)
    weight: Any = None

    def __init__(self, weight: Any = None, *, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.weight = weight

    def _checked(self, name: str, value: Any) -> Any:
        if name == "weight":
            return value if value is None else checks.as_vector(value, name, least=0)
        return super()._checked(name, value)

    def _form(self) -> Form:
        if self.weight is None:
            return super()._form()
        return Form("-weighted", self._weighted, self._weighted_slope, ("weight",))

    @staticmethod
    def _weighted(out, y, weight):
        return weight * value(out, y)

    @staticmethod
    def _weighted_slope(out, y, weight):
        return weight * slope(out, y)

    def _explain(self, out: np.ndarray) -> None:
        if not ((out >= 0) & (out <= 1)).all():
            raise ValueError(
                "BCELoss takes outputs that are probabilities, from 0 to 1: end the network with a Sigmoid, "
                "or use BCEWithLogitsLoss"
            )

    def _described(self) -> list[str]:
        return [] if self.weight is None else [checks.argument("weight", self.weight)]
