"""The loss and metrics of a network on data that it is not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.criterion import Criterion
from fastmlp.modules import Sequential
from fastmlp.training.inputs import Rows, check_kinds
from fastmlp.training.metrics import Metric, as_metrics
from fastmlp.training.pieces import Pieces, as_rows_or_pieces

__all__ = ["evaluate", "judged"]


def evaluate(
    model: Sequential,
    criterion: Criterion,
    X: Any,
    y: Any = None,
    *,
    metrics: Any = (),
    sample_weight: Any = None,
    threads: int | None = None,
) -> dict[str, float]:
    """The loss of a network, and metrics, in evaluation mode: one prediction of all rows.

    Parameters
    ----------
    model : Sequential
        The network; it is left as it is.
    criterion : Criterion
        The loss.
    X, y : array_like
        As :func:`fastmlp.fit` takes them.
    metrics : str, callable, or several
        Names: ``"accuracy"``, ``"top_k_accuracy"`` (5, or ``"top_3_accuracy"``), ``"auc"`` (needs scikit-learn), ``"r2"``,
        ``"mae"``, ``"mse"``. Functions ``f(y, out) -> number``, each under its own name or that of a pair ``(name, f)``; they
        get `y` and the outputs as arrays that are not to be written to.
    sample_weight : array_like, (N,), optional
        How much each row counts, in the loss and in metrics that have a name here.
    threads : int, optional
        As in :meth:`Sequential.predict`.

    Returns
    -------
    dict
        ``"loss"``, then each metric by its name.

    Raises
    ------
    ValueError, TypeError
        For bad input, and for metrics that are not known or do not fit the targets.
    ImportError
        For ``"auc"`` without scikit-learn.

    Notes
    -----
    What a class is, the criterion says: labels are compared with the largest output, targets of 0 and 1 with outputs above 0
    (:class:`BCEWithLogitsLoss`) or 0.5 (:class:`BCELoss`), those of -1 and 1 with the sign; of several such columns, accuracy
    is the mean. Rows that the criterion ignores count in no metric that has a name here. AUC is NaN where a class is missing;
    that of several classes is the mean of one class against the others.

    Examples
    --------
    >>> import fastmlp as fm
    >>> X, y = fm.datasets.make_disc(200, rng=0)
    >>> model = fm.Sequential(fm.Linear(2, 9, rng=0), fm.Tanh(), fm.Linear(9, 2, rng=1))
    >>> result = fm.evaluate(model, fm.CrossEntropyLoss(), X, y, metrics="accuracy")
    >>> list(result)
    ['loss', 'accuracy']
    """
    check_kinds((model, Sequential, "model"), (criterion, Criterion, "criterion"))
    threads = threads if threads is None else checks.as_size(threads, "threads")
    rows, _ = as_rows_or_pieces(model, criterion, X, y, sample_weight, owner="evaluate", classes=model.classes)
    wanted = as_metrics(metrics, criterion, rows.first.y, model._width_out(rows.first.x.shape[1]))
    return judged(model, criterion, rows, wanted, threads)


def judged(
    model: Sequential, criterion: Criterion, rows: Rows | Pieces, metrics: Sequence[Metric], threads: int | None
) -> dict[str, float]:
    """The loss and the metrics of the network as it is; a criterion in Python gets targets that it may write to.

    Of rows in pieces, the outputs and targets of all are in memory in the end, the inputs of some.
    """
    parts = [(model.predict(x, threads=threads), y, weights) for x, y, weights in rows.pieces()]
    out, y, weights = parts[0] if len(parts) == 1 else map(_joined, zip(*parts))
    own = y if criterion.runs_in_engine() else y.copy()
    given = () if weights is None else (weights.copy(),)
    kept = out if criterion.runs_in_engine() or not metrics else out.copy()
    result = {"loss": checks.as_loss(criterion(out, own, *given), criterion)}
    if metrics:
        y, kept = _read_only(y), _read_only(kept)
        result |= {metric.name: metric.compute(y, kept, weights) for metric in metrics}
    return result


def _joined(parts: Sequence[Any]) -> Any:
    return None if parts[0] is None else np.concatenate(parts)


def _read_only(array: np.ndarray) -> np.ndarray:
    view = array.view()
    view.flags.writeable = False
    return view
