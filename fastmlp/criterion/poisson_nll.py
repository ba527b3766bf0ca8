"""The negative log-likelihood of counts."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import numpy as np

from fastmlp import checks
from fastmlp.criterion.criterion import ElementwiseLoss, Form
from fastmlp.kernels.compiler.expression import select
from fastmlp.kernels.elementary import exp, log

__all__ = ["PoissonNLLLoss"]


def stirling(y):
    """What Stirling's formula makes of ``log(y!)``; 0 up to 1."""
    return select(y > 1, y * log(y) - y + 0.5 * log(2 * math.pi * y), 0)


class PoissonNLLLoss(ElementwiseLoss):
    """The negative log-likelihood of counts from a Poisson distribution, averaged over all elements.

    ``loss = mean over n, j of exp(out[n, j]) - y[n, j] out[n, j]``, or, of a rate itself, ``out[n, j] - y[n, j] log(out[n, j] +
    eps)``

    Parameters
    ----------
    log_input : bool, default True
        Whether the outputs are logarithms of the rate, or the rate.
    full : bool, default False
        Whether ``log(y!)`` is added, by Stirling's formula: it depends on the targets alone.
    eps : float, default 1e-8
        Added to a rate before its logarithm is taken. It may be assigned later, which compiles nothing.
    reduction : {"mean", "sum"}, default "mean"
        Over all elements.

    Shape: `out` ``(N, O)``; `y` the same, at least 0, or ``(N,)`` where O is 1.

    Raises
    ------
    ValueError
        For other shapes (nothing is broadcast), for targets below 0, and for rates below 0.
    TypeError
        For targets that are not real numbers.

    Examples
    --------
    >>> import fastmlp as fm
    >>> criterion = fm.PoissonNLLLoss()
    >>> criterion([[0.0, 0.0]], [[1, 3]])
    1.0
    >>> criterion.backward()
    array([[ 0., -1.]], dtype=float32)
    """

    cases: ClassVar[tuple[dict[str, Any], ...]] = (
        {},
        {"full": True, "reduction": "sum"},
        {"log_input": False, "eps": 0.01},
        {"log_input": False, "full": True},
    )
    targets: ClassVar[tuple[str, ...]] = ("counts",)
    outputs: ClassVar[str] = "positive"
    constants = ("eps",)

    def __init__(self, log_input: bool = True, full: bool = False, *, eps: float = 1e-8, reduction: str = "mean"):
        super().__init__(reduction=reduction)
        self.log_input, self.full, self.eps = log_input, full, eps

    def _checked(self, name: str, value: Any) -> Any:
        if name in ("log_input", "full"):
            return checks.as_flag(value, name)
        return checks.as_number(value, name) if name == "eps" else super()._checked(name, value)

    def _form(self) -> Form:
        if self.log_input:
            return Form("-full", self._full, self._slope) if self.full else Form("", self._logarithm, self._slope)
        value = self._full_rate if self.full else self.value
        return Form("-rate-full" if self.full else "-rate", value, self.slope, constants=("eps",))

    @staticmethod
    def value(out, y, eps):
        return out - y * log(out + eps)

    @staticmethod
    def slope(out, y, eps):
        return 1 - y / (out + eps)

    @staticmethod
    def _full_rate(out, y, eps):
        return out - y * log(out + eps) + stirling(y)

    @staticmethod
    def _logarithm(out, y):
        return exp(out) - y * out

    @staticmethod
    def _full(out, y):
        return exp(out) - y * out + stirling(y)

    @staticmethod
    def _slope(out, y):
        return exp(out) - y

    def _explain(self, out: np.ndarray) -> None:
        if not self.log_input and not (out >= 0).all():
            raise ValueError("PoissonNLLLoss(log_input=False) takes outputs of at least 0: rates, not their logarithms")

    def _described(self) -> list[str]:
        described = [f"{name}={value}" for name, value in (("log_input", self.log_input), ("full", self.full))]
        return described if self.log_input else [*described, f"eps={self.eps:g}"]
