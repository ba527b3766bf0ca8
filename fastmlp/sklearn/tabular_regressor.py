"""The regressor of tables."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.metrics import r2_score
from sklearn.utils import check_array
from sklearn.utils.validation import check_consistent_length, check_is_fitted, column_or_1d

from fastmlp.criterion import Criterion, MSELoss
from fastmlp.modules import Mish
from fastmlp.sklearn.tabular import Tabular, taken

__all__ = ["TabularRegressor"]

#: Errors of a network that intervals are made of, at most: their quantiles are as good as all. Rows at a time.
RESIDUALS, BLOCK = 1000, 500


class TabularRegressor(RegressorMixin, Tabular):
    """A regressor of tables that is good without tuning.

    As :class:`TabularClassifier`, with standardised targets; predictions stay within the range of the targets.

    Parameters
    ----------
    n_members, hidden_layer_sizes, epochs, batch_size, categorical_features, time_limit, n_threads, random_state, verbose
        As of :class:`TabularClassifier`.
    learning_rate_init : float, default 0.07
        The learning rate, which has a schedule of four cosines.

    Attributes
    ----------
    oob_score_ : float
        R² on held-out rows (out of bag), each predicted by networks that have not seen it.
    oob_prediction_ : ndarray of shape (n_samples,) or (n_samples, n_outputs)
        The predictions of that; NaN for rows that nobody held out.
    models_, histories_, n_iter_, columns_, n_features_in_, feature_names_in_
        As of :class:`TabularClassifier`.

    References
    ----------
    D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024, arXiv:2407.04491 (RealMLP-TD-S).

    R. F. Barber, E. J. Candès, A. Ramdas, R. J. Tibshirani, "Predictive inference with the jackknife+", Annals of Statistics
    49(1), 2021, section 3 (CV+, of `predict_interval`).

    Examples
    --------
    >>> from fastmlp.sklearn import TabularRegressor
    >>> from sklearn.datasets import load_diabetes
    >>> X, y = load_diabetes(return_X_y=True, as_frame=True)
    >>> reg = TabularRegressor(n_members=5, hidden_layer_sizes=(32, 32), random_state=0).fit(X, y)
    >>> reg.oob_score_ > 0.4
    True
    >>> low, high = reg.predict_interval(X[:3], coverage=0.9)
    >>> bool((low < reg.predict(X[:3])).all() and (reg.predict(X[:3]) < high).all())
    True
    """

    _activation = Mish

    def __init__(
        self,
        n_members=8,
        *,
        hidden_layer_sizes=(128, 128, 128),
        epochs=64,
        batch_size=128,
        learning_rate_init=0.07,
        categorical_features=None,
        time_limit=None,
        n_threads=None,
        random_state=None,
        verbose=False,
    ):
        self.n_members = n_members
        self.hidden_layer_sizes = hidden_layer_sizes
        self.epochs = epochs
        self.batch_size = batch_size
        self.learning_rate_init = learning_rate_init
        self.categorical_features = categorical_features
        self.time_limit = time_limit
        self.n_threads = n_threads
        self.random_state = random_state
        self.verbose = verbose

    def _criterion(self) -> Criterion:
        return MSELoss()

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularRegressor:
        """Train the networks.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            The table; numbers, text, missing values.
        y : array-like of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.

        Returns
        -------
        TabularRegressor
            The estimator.
        """
        X = self._checked(X, reset=True)
        if y is None:
            raise ValueError("This TabularRegressor estimator requires y to be passed, but the target y is None.")
        y = _as_target(y)
        check_consistent_length(X, y)
        self._flat = y.ndim == 1
        y = y.reshape(len(y), -1)
        self._centre, spread = y.mean(axis=0), y.std(axis=0)
        self._spread = np.where(spread > 0, spread, 1.0)
        self._range = y.min(axis=0), y.max(axis=0)
        targets = ((y - self._centre) / self._spread).astype(np.float32)
        # By rank, so that each member sees all sizes.
        strata = np.argsort(np.argsort(targets[:, 0], kind="stable")) * max(1, len(y) // 10) // len(y)
        self._fit(X, targets, strata, sample_weight, y.shape[1])
        known = ~np.isnan(self._out_of_bag[:, 0])
        predicted = self._numbers(self._out_of_bag)
        self.oob_prediction_ = predicted[:, 0] if self._flat else predicted
        self.oob_score_ = float("nan")
        self._residuals = []
        if known.any():
            if known.sum() > 1:
                self.oob_score_ = float(r2_score(y[known], predicted[known], sample_weight=taken(sample_weight, known)))
            for held in self._held_out:
                left = np.sort(np.abs(y[held] - predicted[held]), axis=0)
                if len(left) > RESIDUALS:
                    left = np.quantile(left, (np.arange(RESIDUALS) + 0.5) / RESIDUALS, axis=0)
                self._residuals.append(left)
        return self

    def _numbers(self, out: np.ndarray) -> np.ndarray:
        """Predictions in the units of y, within the range that it had."""
        return np.clip(out * self._spread + self._centre, *self._range)

    def predict(self, X: Any) -> np.ndarray:
        """The mean of what the networks predict.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            A table with the columns of that in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions.
        """
        mean = np.mean([self._numbers(out) for out in self._outputs(X)], axis=0)
        return mean[:, 0] if self._flat else mean

    def predict_interval(self, X: Any, coverage: float = 0.9) -> tuple[np.ndarray, np.ndarray]:
        """Between which numbers a target lies, by the errors of the networks on the rows that each held out (CV+).

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            A table with the columns of that in `fit`.
        coverage : float, default 0.9
            How often the target lies between them, nearly: at least ``2 * coverage - 1`` where rows are exchangeable.

        Returns
        -------
        low, high : ndarray
            Of the shape that `predict` returns.
        """
        check_is_fitted(self)
        if not isinstance(coverage, Real) or not 0 < coverage < 1:
            raise ValueError(f"coverage must be a number between 0 and 1; got {coverage!r}")
        errors = [left for left in self._residuals if len(left)]
        if not errors:
            raise ValueError("there are no intervals: no rows were held out, of so few")
        outputs = [self._numbers(out) for out, left in zip(self._outputs(X), self._residuals) if len(left)]
        low, high = np.empty_like(outputs[0]), np.empty_like(outputs[0])
        count = sum(map(len, errors))
        last = min(count, math.ceil(coverage * (count + 1))) - 1
        for column in range(low.shape[1]):
            for first in range(0, len(low), BLOCK):
                rows = slice(first, first + BLOCK)
                parts = [(out[rows, column, None], left[None, :, column]) for out, left in zip(outputs, errors)]
                above = np.concatenate([out + left for out, left in parts], axis=1)
                below = np.concatenate([out - left for out, left in parts], axis=1)
                high[rows, column] = np.partition(above, last, axis=1)[:, last]
                low[rows, column] = np.partition(below, count - 1 - last, axis=1)[:, count - 1 - last]
        return (low[:, 0], high[:, 0]) if self._flat else (low, high)


def _as_target(y: Any) -> np.ndarray:
    """Numbers, in one axis or two."""
    y = check_array(y, ensure_2d=False, dtype=np.float64, input_name="y")
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    return y
