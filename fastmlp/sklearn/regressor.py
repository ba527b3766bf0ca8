"""The regressor."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.base import RegressorMixin, _fit_context
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.validation import check_is_fitted

from fastmlp.criterion import Criterion, PoissonNLLLoss
from fastmlp.sklearn.base import BaseMLP
from fastmlp.sklearn.criteria import check_for_numbers, named, width_for

__all__ = ["MLPRegressor"]


class MLPRegressor(RegressorMixin, BaseMLP):
    """scikit-learn's MLPRegressor, on the compiled engine of fastmlp.

    The arguments up to `max_fun` are scikit-learn's, with its defaults and in its order, and are described in
    :class:`MLPClassifier`; the same `random_state` gives the same network, to rounding. Those behind are fastmlp's own.

    Parameters
    ----------
    loss : {"squared_error", "poisson", "absolute_error"} or Criterion, default "squared_error"
        "poisson" has a last activation exp. Any criterion of numbers: ``HuberLoss()``, ``QuantileLoss([0.1, 0.5, 0.9])``, which
        gives as many outputs, ``GaussianNLLLoss()``, of whose outputs `predict` gives the means, or one of your own.
    hidden_layer_sizes, activation, solver, alpha, batch_size, learning_rate, learning_rate_init, power_t, max_iter, shuffle, \
random_state, tol, verbose, warm_start, momentum, nesterovs_momentum, early_stopping, validation_fraction, beta_1, beta_2, \
epsilon, n_iter_no_change, max_fun
        As of :class:`MLPClassifier`.
    dropout, scoring, callbacks, n_threads, dtype
        As of :class:`MLPClassifier`; by default early stopping goes by R².

    Attributes
    ----------
    coefs_, intercepts_, model_, loss_, loss_curve_, best_loss_, validation_scores_, best_validation_score_, \
validation_loss_curve_, n_iter_, t_, n_layers_, n_outputs_, n_features_in_, feature_names_in_, out_activation_
        As of :class:`MLPClassifier`.

    Examples
    --------
    >>> from fastmlp.sklearn import MLPRegressor
    >>> from sklearn.datasets import make_regression
    >>> X, y = make_regression(n_samples=200, n_features=20, random_state=1)
    >>> MLPRegressor(random_state=1, max_iter=2000, tol=0.1).fit(X, y).score(X, y) > 0.9
    True
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"squared_error", "poisson", "absolute_error"}), Criterion],
    }

    def __init__(
        self,
        loss="squared_error",
        hidden_layer_sizes=(100,),
        activation="relu",
        *,
        solver="adam",
        alpha=0.0001,
        batch_size="auto",
        learning_rate="constant",
        learning_rate_init=0.001,
        power_t=0.5,
        max_iter=200,
        shuffle=True,
        random_state=None,
        tol=1e-4,
        verbose=False,
        warm_start=False,
        momentum=0.9,
        nesterovs_momentum=True,
        early_stopping=False,
        validation_fraction=0.1,
        beta_1=0.9,
        beta_2=0.999,
        epsilon=1e-8,
        n_iter_no_change=10,
        max_fun=15000,
        dropout=0.0,
        scoring=None,
        callbacks=None,
        n_threads=None,
        dtype=None,
    ):
        self.loss = loss
        self.hidden_layer_sizes = hidden_layer_sizes
        self.activation = activation
        self.solver = solver
        self.alpha = alpha
        self.batch_size = batch_size
        self.learning_rate = learning_rate
        self.learning_rate_init = learning_rate_init
        self.power_t = power_t
        self.max_iter = max_iter
        self.shuffle = shuffle
        self.random_state = random_state
        self.tol = tol
        self.verbose = verbose
        self.warm_start = warm_start
        self.momentum = momentum
        self.nesterovs_momentum = nesterovs_momentum
        self.early_stopping = early_stopping
        self.validation_fraction = validation_fraction
        self.beta_1 = beta_1
        self.beta_2 = beta_2
        self.epsilon = epsilon
        self.n_iter_no_change = n_iter_no_change
        self.max_fun = max_fun
        self.dropout = dropout
        self.scoring = scoring
        self.callbacks = callbacks
        self.n_threads = n_threads
        self.dtype = dtype

    # What the base asks for.

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray, np.ndarray | None]:
        X, y = self._checked_pair(X, y, reset=reset, y_numeric=True)
        if self.loss == "poisson" and np.min(y) < 0:
            raise ValueError("loss='poisson' needs y of at least 0")
        return X, y.reshape(-1, 1) if y.ndim == 1 else y, None

    def _make_criterion(self, y: np.ndarray, dtype: np.dtype) -> tuple[Criterion, int, float]:
        targets = y.shape[1]
        self._means = None
        if isinstance(self.loss, str):
            self.out_activation_ = "exp" if self.loss == "poisson" else "identity"
            # scikit-learn's squared error of several outputs is their mean, its gradient that of their sum.
            return named(self.loss, targets), targets, 1 / targets if self.loss == "squared_error" else 1.0
        criterion = copy.deepcopy(self.loss)
        check_for_numbers(criterion)
        self.out_activation_ = "exp" if isinstance(criterion, PoissonNLLLoss) else "identity"
        self._means = targets if criterion.outputs == "pairs" else None
        return criterion, width_for(criterion, targets), 1.0

    def _targets(self, y: np.ndarray) -> np.ndarray:
        return np.asarray(y, self.model_.dtype)

    def _score_of(self, outputs: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> float:
        predicted = self._activated(outputs)[:, : self._means]
        if not np.isfinite(predicted).all():
            return float("nan")
        if predicted.shape[1] != y.shape[1]:
            raise ValueError(f"R² needs an output for each target; {self._criterion!r} has others: pass scoring=")
        # r2_score of scikit-learn, which takes 0.3 ms for what is 0.02 ms here.
        w = np.ones((len(y), 1)) if weights is None else np.asarray(weights, np.float64).reshape(-1, 1)
        y = np.asarray(y, np.float64)
        left = (w * (y - predicted) ** 2).sum(axis=0)
        whole = (w * (y - np.average(y, axis=0, weights=w[:, 0])) ** 2).sum(axis=0)
        scores = np.where(left == 0, 1.0, 0.0)
        np.divide(left, whole, out=left, where=whole != 0)
        return float(np.where(whole != 0, 1 - left, scores).mean())

    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        return y.ravel() if y.shape[1] == 1 else y

    def _predict(self, X: Any, check_input: bool = True) -> np.ndarray:
        outputs = self._forward_pass_fast(X, check_input=check_input)[:, : self._means]
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    # scikit-learn's methods.

    def predict(self, X: Any) -> np.ndarray:
        """The numbers for the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The predictions.
        """
        check_is_fitted(self)
        return self._predict(X)

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None) -> MLPRegressor:
        """Train for one epoch on the given data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The targets.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.

        Returns
        -------
        MLPRegressor
            The estimator.
        """
        return self._fit(X, y, sample_weight, True)  # type: ignore[return-value]
