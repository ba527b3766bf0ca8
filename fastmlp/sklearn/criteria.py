"""scikit-learn's losses as formulas of the outputs before the last activation, and what other criteria ask of a network."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.criterion import (
    Criterion,
    CrossEntropyLoss,
    ElementwiseLoss,
    KLDivLoss,
    L1Loss,
    NLLLoss,
    PoissonNLLLoss,
    QuantileLoss,
)
from fastmlp.kernels.op import Op
from fastmlp.math import clip, exp, log, maximum, select, sigmoid

__all__ = ["BinaryLogLoss", "HalfSquaredError", "LogLoss", "PoissonDeviance", "check_for_classes", "check_for_numbers"]

#: Below it a logarithm is not taken.
TINY = 1e-30


class HalfSquaredError(ElementwiseLoss):
    """``sum over j of (out - y)^2 / 2``, meaned over rows: scikit-learn's gradient. Its loss is this, over the outputs."""

    squares = True
    constants = ("terms",)

    def __init__(self, outputs: int):
        super().__init__()
        self.terms = outputs

    @staticmethod
    def value(out, y, terms):
        d = out - y
        return 0.5 * terms * d * d


class PoissonDeviance(ElementwiseLoss):
    """Half the deviance of Poisson's distribution, ``y log(y / p) - y + p`` with ``p = exp(out)``, summed over outputs."""

    constants = ("terms",)

    def __init__(self, outputs: int):
        super().__init__()
        self.terms = outputs

    @staticmethod
    def value(out, y, terms):
        own = select(y > 0, y * log(maximum(y, TINY)), 0)
        return terms * (own - y * out - y + exp(out))

    @staticmethod
    def slope(out, y, terms):
        return terms * (exp(out) - y)


class BinaryLogLoss(ElementwiseLoss):
    """Cross entropy of yes or no, summed over outputs. The probabilities in the loss stay `eps` away from 0 and 1."""

    constants = ("terms", "eps")

    def __init__(self, outputs: int, dtype: Any):
        super().__init__()
        self.terms, self.eps = outputs, float(np.finfo(dtype).eps)

    @staticmethod
    def value(out, y, terms, eps):
        p = clip(sigmoid(out), eps, 1 - eps)
        return -terms * (y * log(p) + (1 - y) * log(1 - p))

    @staticmethod
    def slope(out, y, terms, eps):
        return terms * (sigmoid(out) - y)


class LogLoss(CrossEntropyLoss):
    """Cross entropy whose loss of a row is at most ``-log(eps)``, as scikit-learn has it; its gradient is as ever."""

    def __init__(self, dtype: Any):
        super().__init__()
        self.most = -float(np.log(np.finfo(dtype).eps))

    def _op(self, width: int, *, labels: bool = True, weighted: bool = False) -> Op:
        op = super()._op(width, labels=labels, weighted=weighted)
        op.most = self.most  # type: ignore[attr-defined]
        return op


def check_for_classes(criterion: Criterion) -> None:
    """Refuse criteria whose outputs are no scores of classes."""
    name = type(criterion).__name__
    if criterion.outputs != "numbers" or isinstance(criterion, (NLLLoss, KLDivLoss)):
        raise ValueError(
            f"loss of a classifier must take scores of classes, as CrossEntropyLoss, BCEWithLogitsLoss, HingeLoss or "
            f"MultiMarginLoss do; {name} takes outputs of another kind"
        )
    _check_mean(criterion)


def check_for_numbers(criterion: Criterion) -> None:
    """Refuse criteria whose targets are no numbers."""
    name = type(criterion).__name__
    if criterion.targets[0] not in ("numbers", "counts"):
        raise ValueError(f"loss of a regressor must take numbers as targets; {name} takes {criterion.targets[0]}")
    if isinstance(criterion, PoissonNLLLoss) and not criterion.log_input:
        raise ValueError("PoissonNLLLoss as the loss of a regressor must have log_input=True: outputs may be any numbers")
    _check_mean(criterion)


def _check_mean(criterion: Criterion) -> None:
    if criterion.reduction != "mean":
        raise ValueError(f'loss must have reduction="mean", which alpha goes with; got {criterion!r}')


def named(loss: str, outputs: int) -> Criterion:
    """The criterion of a regressor that has a name."""
    if loss == "poisson":
        return PoissonDeviance(outputs)
    return L1Loss() if loss == "absolute_error" else HalfSquaredError(outputs)


def width_for(criterion: Criterion, targets: int) -> int:
    """How many outputs a criterion of numbers takes for so many targets."""
    if criterion.outputs == "pairs":
        return 2 * targets
    quantiles = criterion.quantile if isinstance(criterion, QuantileLoss) else None
    return len(quantiles) if isinstance(quantiles, tuple) and targets == 1 else targets
