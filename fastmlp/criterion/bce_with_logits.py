"""Binary cross entropy of logits."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.criterion.criterion import ElementwiseLoss, Form
from fastmlp.kernels.compiler.expression import maximum
from fastmlp.kernels.elementary import exp, log1p, sigmoid

__all__ = ["BCEWithLogitsLoss"]


class BCEWithLogitsLoss(ElementwiseLoss):
    """Binary cross entropy of logits, averaged over all elements: of one class against the other, or of many labels at once.

    ``loss = mean over n, j of -weight[j] (pos_weight[j] y[n, j] log(p) + (1 - y[n, j]) log(1 - p))``, with
    ``p = 1 / (1 + exp(-out[n, j]))``

    Parameters
    ----------
    weight : float or array_like (O,), optional
        How much each column of the outputs counts, at least 0. Weights of rows are the `sample_weight` of a call, or of `fit`.
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.
    pos_weight : float or array_like (O,), optional
        How much a target of 1 counts beside one of 0, for each column: more than 1 for a label that is rare.

    Shape: `out` ``(N, O)``; `y` the same, from 0 to 1, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for targets that are not from 0 to 1.
    TypeError
        For targets that are not real numbers.

    Notes
    -----
    Computed as ``(1 - y) x + max(-x, 0) + log(1 + exp(-|x|))``, so no finite logits overflow.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.BCEWithLogitsLoss()
    >>> round(criterion([[0.0, 0.0]], [[1.0, 0.0]]), 4)
    0.6931
    >>> criterion.backward()
    array([[-0.25,  0.25]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"pos_weight": "columns"},
        {"weight": "columns", "pos_weight": 2.5, "reduction": "sum"},
    )
    targets: ClassVar[tuple[str, ...]] = ("probabilities",)
    weight: Any = None
    pos_weight: Any = None

    def __init__(self, weight: Any = None, *, reduction: str = "mean", pos_weight: Any = None):
        super().__init__(reduction=reduction)
        self.weight, self.pos_weight = weight, pos_weight

    def _checked(self, name: str, value: Any) -> Any:
        if name in ("weight", "pos_weight"):
            return value if value is None else checks.as_vector(value, name, least=0)
        return super()._checked(name, value)

    def _form(self) -> Form:
        if self.pos_weight is None:
            return super()._form() if self.weight is None else Form("-w", self._weighted, self._weighted_slope, ("weight",))
        if self.weight is None:
            return Form("-p", self._positive, self._positive_slope, ("pos_weight",))
        return Form("-wp", self._both, self._both_slope, ("weight", "pos_weight"))

    @staticmethod
    def value(out, y):
        return (1 - y) * out + maximum(-out, 0) + log1p(exp(-abs(out)))

    @staticmethod
    def slope(out, y):
        return sigmoid(out) - y

    @staticmethod
    def _positive(out, y, pos_weight):
        return (1 - y) * out + (1 + (pos_weight - 1) * y) * (log1p(exp(-abs(out))) + maximum(-out, 0))

    @staticmethod
    def _positive_slope(out, y, pos_weight):
        return (1 - y) - (1 + (pos_weight - 1) * y) * sigmoid(-out)

    @staticmethod
    def _weighted(out, y, weight):
        return weight * BCEWithLogitsLoss.value(out, y)

    @staticmethod
    def _weighted_slope(out, y, weight):
        return weight * BCEWithLogitsLoss.slope(out, y)

    @staticmethod
    def _both(out, y, weight, pos_weight):
        return weight * BCEWithLogitsLoss._positive(out, y, pos_weight)

    @staticmethod
    def _both_slope(out, y, weight, pos_weight):
        return weight * BCEWithLogitsLoss._positive_slope(out, y, pos_weight)

    def _described(self) -> list[str]:
        given = {"weight": self.weight, "pos_weight": self.pos_weight}
        return [checks.argument(name, value) for name, value in given.items() if value is not None]
