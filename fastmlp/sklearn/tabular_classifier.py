"""The classifier of tables."""

from __future__ import annotations

import math
from numbers import Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.utils import assert_all_finite
from sklearn.utils._param_validation import Interval
from sklearn.utils.extmath import softmax
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_consistent_length, column_or_1d

from fastmlp.criterion import Criterion, CrossEntropyLoss
from fastmlp.modules import SELU
from fastmlp.sklearn.tabular import Tabular, taken

__all__ = ["TabularClassifier"]


class TabularClassifier(ClassifierMixin, Tabular):
    """A classifier of tables that is good without tuning.

    Several networks, each of which holds other rows out, are trained side by side, and their probabilities are averaged. A
    table is taken as it is: columns of categories by their dtype (text, "category") are one-hot up to nine values, else
    embedded; missing values become the median, and a column that says so; numbers are centred by the median, scaled by the
    distance of the quartiles, and drawn in smoothly. What has not been seen in training counts as missing.

    Parameters
    ----------
    n_members : int, default 8
        Networks. From 5 to 10 each row is held out by one of them, so ``oob_score_`` is of all rows.
    hidden_layer_sizes : array-like of int, default (128, 128, 128)
        Neurons of the hidden layers.
    epochs : int, default 64
        Epochs of each network, of which the best is kept.
    batch_size : int, default 128
        Rows of a batch.
    learning_rate_init : float, default 0.04
        The learning rate, which has a schedule of four cosines.
    label_smoothing : float, default 0.1
        How much of each label is spread over all classes.
    categorical_features : array-like, optional
        Names, numbers or a mask of the columns that are categories; by default those that hold text, or have that dtype.
    time_limit : float, optional
        Seconds that `fit` may take: there are fewer epochs, then fewer members.
    n_threads : int, optional
        How many networks are trained at the same time; by default as many as there are cores. Results do not depend on it.
    random_state : int, RandomState instance or None, default None
        For first weights, the rows held out, and orders.
    verbose : bool, default False
        Whether a line is printed for each network.

    Attributes
    ----------
    classes_ : ndarray
        The labels.
    models_ : list of Sequential
        The networks.
    oob_score_ : float
        The accuracy on held-out rows (out of bag), each predicted by networks that have not seen it.
    oob_decision_function_ : ndarray of shape (n_samples, n_classes)
        The probabilities of that; NaN for rows that nobody held out.
    histories_ : list of History
        Of each network: losses in training and on held-out rows.
    n_iter_ : int
        Epochs of each network.
    columns_ : object
        What becomes of the columns.
    n_features_in_, feature_names_in_
        As in scikit-learn.

    Notes
    -----
    Probabilities are calibrated: the logits of a network are divided by the number that makes held-out labels most likely
    (temperature scaling).

    References
    ----------
    D. Holzmüller, L. Grinsztajn, I. Steinwart, "Better by default: strong pre-tuned MLPs and boosted trees on tabular data",
    NeurIPS 2024, arXiv:2407.04491 (RealMLP-TD-S).

    C. Guo, G. Pleiss, Y. Sun, K. Weinberger, "On calibration of modern neural networks", ICML 2017 (temperature).

    Examples
    --------
    >>> from fastmlp.sklearn import TabularClassifier
    >>> from sklearn.datasets import load_iris
    >>> X, y = load_iris(return_X_y=True, as_frame=True)
    >>> clf = TabularClassifier(n_members=5, hidden_layer_sizes=(32, 32), random_state=0).fit(X, y)
    >>> clf.oob_score_ > 0.9
    True
    >>> clf.predict_proba(X[:1]).round(1)
    array([[1., 0., 0.]])
    """

    _activation = SELU
    _parameter_constraints: ClassVar[dict] = {
        **Tabular._parameter_constraints,
        "label_smoothing": [Interval(Real, 0, 1, closed="left")],
    }

    def __init__(
        self,
        n_members=8,
        *,
        hidden_layer_sizes=(128, 128, 128),
        epochs=64,
        batch_size=128,
        learning_rate_init=0.04,
        label_smoothing=0.1,
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
        self.label_smoothing = label_smoothing
        self.categorical_features = categorical_features
        self.time_limit = time_limit
        self.n_threads = n_threads
        self.random_state = random_state
        self.verbose = verbose

    def _criterion(self) -> Criterion:
        return CrossEntropyLoss(label_smoothing=self.label_smoothing)

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None) -> TabularClassifier:
        """Train the networks.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            The table; numbers, text, missing values.
        y : array-like of shape (n_samples,)
            The labels.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.

        Returns
        -------
        TabularClassifier
            The estimator.
        """
        X = self._checked(X, reset=True)
        if y is None:
            raise ValueError("This TabularClassifier estimator requires y to be passed, but the target y is None.")
        y = column_or_1d(y, warn=True)
        assert_all_finite(y, input_name="y")
        check_classification_targets(y)
        check_consistent_length(X, y)
        self.classes_, labels = np.unique(y, return_inverse=True)
        self._temperature = 1.0
        self._fit(X, labels, labels, sample_weight, len(self.classes_))
        known = ~np.isnan(self._out_of_bag[:, 0])
        self.oob_decision_function_ = np.full(self._out_of_bag.shape, np.nan)
        self.oob_score_ = float("nan")
        if known.any():
            self._temperature = _temperature(self._out_of_bag[known], labels[known])
            self.oob_decision_function_[known] = self._softmax(self._out_of_bag[known])
            self.oob_score_ = float(
                np.average(self._out_of_bag[known].argmax(axis=1) == labels[known], weights=taken(sample_weight, known))
            )
        return self

    def _softmax(self, logits: np.ndarray) -> np.ndarray:
        return softmax(logits.astype(np.float64) / self._temperature, copy=False)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of the classes: the mean of those of the networks.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            A table with the columns of that in `fit`.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        return np.mean([self._softmax(out) for out in self._outputs(X)], axis=0)

    def predict(self, X: Any) -> np.ndarray:
        """The most probable class of each row.

        Parameters
        ----------
        X : data frame or array-like of shape (n_samples, n_features)
            A table with the columns of that in `fit`.

        Returns
        -------
        ndarray of shape (n_samples,)
            The labels.
        """
        probabilities = self.predict_proba(X)
        return self.classes_[probabilities.argmax(axis=1)]


def _temperature(logits: np.ndarray, labels: np.ndarray) -> float:
    """The number that logits are divided by so that the likelihood of the labels is largest."""
    from scipy.optimize import minimize_scalar

    def loss(log: float) -> float:
        z = logits * math.exp(-log)
        z = z - z.max(axis=1, keepdims=True)
        return float(np.mean(np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]))

    return math.exp(minimize_scalar(loss, bounds=(-3, 3), method="bounded").x)
