"""The hinge loss of two classes."""

from __future__ import annotations

from typing import Any, ClassVar

from fastmlp import checks
from fastmlp.criterion.criterion import ElementwiseLoss, Form
from fastmlp.kernels.compiler.expression import select

__all__ = ["HingeLoss"]


class HingeLoss(ElementwiseLoss):
    """The hinge loss of targets -1 and 1, averaged over all elements: that of a support vector machine.

    ``loss = mean over n, j of max(0, 1 - y[n, j] out[n, j])``, or of its square

    Parameters
    ----------
    squared : bool, default False
        Whether the square is meant.
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.

    Shape: `out` ``(N, O)``; `y` the same, -1 or 1, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), and for targets that are neither -1 nor 1.
    TypeError
        For targets that are not real numbers.

    Notes
    -----
    PyTorch has no such class. Where ``y out`` is just 1 the derivative is 0.

    References
    ----------
    C. Cortes, V. Vapnik, "Support-vector networks", Machine Learning 20, 1995.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.HingeLoss()
    >>> criterion([[0.5, 2.0]], [[1, -1]])
    1.75
    >>> criterion.backward()
    array([[-0.5,  0.5]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = ({}, {"squared": True, "reduction": "sum"})
    targets: ClassVar[tuple[str, ...]] = ("signs",)

    def __init__(self, *, squared: bool = False, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.squared = squared

    def _checked(self, name: str, value: Any) -> Any:
        return checks.as_flag(value, name) if name == "squared" else super()._checked(name, value)

    def _form(self) -> Form:
        return Form("-squared", self._square, None) if self.squared else super()._form()

    @staticmethod
    def value(out, y):
        below = 1 - y * out
        return select(below <= 0, 0, below)

    @staticmethod
    def _square(out, y):
        below = 1 - y * out
        return select(below <= 0, 0, below * below)

    def _described(self) -> list[str]:
        return ["squared=True"] if self.squared else []
