"""Metrics: what people ask of outputs beside the loss, by name or as functions of their own."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.training.history import COLUMNS

__all__ = ["Metric", "as_metrics", "better"]

Function = Callable[[np.ndarray, np.ndarray, "np.ndarray | None"], float]

#: What `k` is where the name has none, as in Keras.
TOP_K = 5


class Metric(NamedTuple):
    """A metric: its name, and ``compute(y, out, weights)``."""

    name: str
    compute: Function


def as_metrics(metrics: Any, criterion: Criterion, y: np.ndarray, width: int | None) -> list[Metric]:
    """The metrics that `metrics` names: a name, a function, or several of them and of pairs (name, function).

    Those that cannot be computed for targets like `y`, of outputs of this width, are refused.
    """
    given = [metrics] if isinstance(metrics, str) or callable(metrics) else metrics
    if not isinstance(given, Iterable) or isinstance(given, dict):
        raise TypeError(f"metrics must be names, functions or pairs (name, function); got {checks.shown(metrics)}")
    given = list(given)
    result = [_as_metric(metric, criterion) for metric in given]
    names = [metric.name for metric in result]
    for name in names:
        if name in COLUMNS or names.count(name) > 1:
            taken = "is taken" if name in COLUMNS else "is there twice"
            raise ValueError(f"the name {name!r} of a metric {taken}: give it another one, (name, function)")
    for metric, what in zip(result, given):
        if isinstance(what, str) and width is not None:
            metric.compute(y[:1], np.zeros((1, width), np.float32), None)
    return result


def better(name: str) -> str | None:
    """Whether smaller ("min") or larger ("max") numbers of a column are better; None where nobody knows."""
    name = name.removeprefix("validation_")
    if name in ("loss", "mse", "mae", "seconds", "rate"):
        return "min"
    return "max" if name in ("accuracy", "auc", "r2") or re.fullmatch(r"top_(k|\d+)_accuracy", name) else None


def _as_metric(metric: Any, criterion: Criterion) -> Metric:
    if isinstance(metric, Metric):
        return metric
    if isinstance(metric, str):
        return Metric(metric, _by_name(metric, criterion))
    name, function = metric if isinstance(metric, (tuple, list)) and len(metric) == 2 else (None, metric)
    if not callable(function):
        raise TypeError(f"a metric must be a name, a function or a pair (name, function); got {checks.shown(metric)}")
    name = getattr(function, "__name__", type(function).__name__) if name is None else name
    if not isinstance(name, str) or not name.isidentifier():
        raise ValueError(f'the name {name!r} of a metric must be a word: give it one, ("name", function)')

    def compute(y: np.ndarray, out: np.ndarray, _: np.ndarray | None) -> float:
        returned = function(y, out)
        if returned is None:
            raise TypeError(f"the metric {name!r} must return a number; got None{checks.missing_return(returned)}")
        return checks.as_metric(returned, f"what the metric {name!r} returns")

    return Metric(name, compute)


def _by_name(name: str, criterion: Criterion) -> Function:
    """The metric of a name; which numbers are classes, and which are scores, the criterion says."""
    top = re.fullmatch(r"top_(k|\d+)_accuracy", name)
    if top is not None:
        k = TOP_K if top[1] == "k" else checks.as_size(int(top[1]), f"the k of {name!r}")
        return lambda y, out, weights: _top(y, out, weights, k, name)
    known = {"r2": _r2, "mae": _mae, "mse": _mse}
    if name in known:
        return lambda y, out, weights: known[name](*_numbers(y, out, name), weights)
    if name == "accuracy":
        return lambda y, out, weights: _accuracy(y, out, weights, criterion)
    if name == "auc":
        try:
            from sklearn.metrics import roc_auc_score
        except ImportError:
            raise ImportError('the metric "auc" needs scikit-learn: pip install scikit-learn') from None
        return lambda y, out, weights: _auc(y, out, weights, criterion, roc_auc_score)
    names = '"accuracy", "top_k_accuracy" (or "top_3_accuracy"), "auc", "r2", "mae", "mse"'
    raise ValueError(f"there is no metric {name!r}; there are {names}, and functions of your own, f(y, out) -> number")


# Classes.


def _mean(values: np.ndarray, weights: np.ndarray | None) -> float:
    """The mean over rows (and columns), weighted."""
    rows = values.reshape(len(values), -1).mean(axis=1, dtype=np.float64)
    return float(rows.mean() if weights is None else np.average(rows, weights=weights.astype(np.float64)))


def _classes(y: np.ndarray, out: np.ndarray, criterion: Criterion, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Labels, or truths of yes-or-no targets; and the scores of the classes, or those of yes, above 0."""
    kinds = criterion.targets
    if y.ndim == 1 and np.issubdtype(y.dtype, np.integer):
        return y, out
    if "distributions" in kinds and y.ndim == 2:
        return y.argmax(axis=1), out
    if "signs" in kinds:
        return y > 0, out
    if "probabilities" in kinds:
        return y > 0.5, out - out.dtype.type(0.5 if criterion.outputs == "probabilities" else 0)
    raise ValueError(
        f"{name!r} needs classes, which the targets of {type(criterion).__name__} are not: pass a function, f(y, out) -> number"
    )


def _accuracy(y: np.ndarray, out: np.ndarray, weights: np.ndarray | None, criterion: Criterion) -> float:
    truth, scores = _classes(y, out, criterion, "accuracy")
    return _mean(scores.argmax(axis=1) == truth if truth.ndim == 1 else (scores > 0) == truth, weights)


def _top(y: np.ndarray, out: np.ndarray, weights: np.ndarray | None, k: int, name: str) -> float:
    if y.ndim != 1 or not np.issubdtype(y.dtype, np.integer):
        raise ValueError(f"{name!r} needs labels, (N,)")
    if k >= out.shape[1]:
        raise ValueError(f"{name!r} is always 1: the model has {out.shape[1]} outputs")
    labels = np.clip(y, 0, out.shape[1] - 1)  # ignored ones have the weight 0
    own = out[np.arange(len(y)), labels][:, None]
    return _mean(((out > own).sum(axis=1) < k) & ~np.isnan(out).any(axis=1), weights)


def _auc(y: np.ndarray, out: np.ndarray, weights: np.ndarray | None, criterion: Criterion, roc_auc_score: Any) -> float:
    """The area under the receiver operating characteristic; NaN where only one class is there."""
    truth, scores = _classes(y, out, criterion, "auc")
    scores = scores.astype(np.float64)
    if weights is not None:
        counts = weights > 0
        truth, scores, weights = truth[counts], scores[counts], weights[counts].astype(np.float64)
    if not np.isfinite(scores).all():
        return float("nan")
    keywords: dict[str, Any] = {"sample_weight": weights}
    if truth.ndim == 1:
        present = np.unique(truth)
        if scores.shape[1] == 2:
            scores = scores[:, 1] - scores[:, 0]
        else:
            shifted = np.exp(scores - scores.max(axis=1, keepdims=True))
            scores = shifted / shifted.sum(axis=1, keepdims=True)
            keywords |= {"multi_class": "ovr", "labels": np.arange(scores.shape[1])}
        if len(present) < (2 if scores.ndim == 1 else scores.shape[1]):
            return float("nan")
    elif (truth == truth[0]).all(axis=0).any():
        return float("nan")
    elif truth.shape[1] == 1:
        truth, scores = truth[:, 0], scores[:, 0]
    return float(roc_auc_score(truth, scores, **keywords))


# Numbers.


def _numbers(y: np.ndarray, out: np.ndarray, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Targets and outputs in float64; of outputs twice as wide, means and variances, the means."""
    if y.ndim == 1 and out.shape[1] == 1:
        y = y[:, None]
    if y.ndim == 2 and out.shape[1] == 2 * y.shape[1]:
        out = out[:, : y.shape[1]]
    if y.shape != out.shape or (y.dtype.kind != "f"):
        raise ValueError(f"{name!r} needs targets like the outputs, {out.shape}; got {y.dtype} of shape {y.shape}")
    return y.astype(np.float64), out.astype(np.float64)


def _mse(y: np.ndarray, out: np.ndarray, weights: np.ndarray | None) -> float:
    return _mean((out - y) ** 2, weights)


def _mae(y: np.ndarray, out: np.ndarray, weights: np.ndarray | None) -> float:
    return _mean(abs(out - y), weights)


def _r2(y: np.ndarray, out: np.ndarray, weights: np.ndarray | None) -> float:
    """``1 - residual / variance``, the mean over columns; of a column that is constant 1 where it is met, else 0."""
    mean = np.average(y, axis=0, weights=weights)
    w = np.ones((len(y), 1)) if weights is None else weights[:, None].astype(np.float64)
    residual, total = (w * (out - y) ** 2).sum(axis=0), (w * (y - mean) ** 2).sum(axis=0)
    constant = np.where(residual == 0, 1.0, 0.0)
    return float(np.where(total == 0, constant, 1 - residual / np.where(total == 0, 1, total)).mean())
