"""The classifier."""

from __future__ import annotations

import copy
from typing import Any, ClassVar

import numpy as np
from sklearn.base import ClassifierMixin, _fit_context
from sklearn.preprocessing import LabelBinarizer
from sklearn.utils import compute_sample_weight
from sklearn.utils._param_validation import StrOptions
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import _check_partial_fit_first_call, type_of_target, unique_labels
from sklearn.utils.validation import check_is_fitted

from fastmlp.criterion import Criterion, HingeEmbeddingLoss, HingeLoss, MultiMarginLoss
from fastmlp.sklearn.base import BaseMLP
from fastmlp.sklearn.criteria import BinaryLogLoss, LogLoss, check_for_classes

__all__ = ["MLPClassifier"]

#: Losses whose outputs are scores, from which there is no way to probabilities.
SCORES = (HingeLoss, HingeEmbeddingLoss, MultiMarginLoss)


def _labels_in(y: np.ndarray) -> np.ndarray:
    """The classes in `y`, sorted; past checks that it passes, which take a sixth of the time of a small `partial_fit`."""
    return np.unique(y) if y.ndim == 1 and y.dtype.kind in "biuU" else unique_labels(y)


def _gives_probabilities(estimator: Any) -> bool:
    if isinstance(estimator.loss, SCORES):
        raise AttributeError(f"{type(estimator.loss).__name__} gives no probabilities: see decision_function")
    return True


def _gives_scores(estimator: Any) -> bool:
    if not isinstance(estimator.loss, SCORES):
        raise AttributeError("decision_function is for losses without probabilities: see predict_proba")
    return True


class MLPClassifier(ClassifierMixin, BaseMLP):
    """scikit-learn's MLPClassifier, on the compiled engine of fastmlp.

    The arguments up to `max_fun` are scikit-learn's, with its defaults; the same `random_state` gives the same network, to
    rounding. Those behind are fastmlp's own.

    Parameters
    ----------
    hidden_layer_sizes : array-like of int, default (100,)
        Neurons of each hidden layer.
    activation : str, Module, or list of one for each hidden layer, default "relu"
        "identity", "logistic", "tanh", "relu", as in scikit-learn; or the name of any activation of fastmlp, as
        ``torch.nn.functional`` has it ("gelu", "silu", "leaky_relu"); or a module, of which each layer gets a copy.
    solver : {"adam", "sgd", "lbfgs"}, default "adam"
        The optimizer; "lbfgs" is SciPy's, on all rows at once.
    alpha : float, default 0.0001
        The factor of the L2 penalty ``alpha / (2 n) * sum of the squared weights``, n the rows of a batch.
    batch_size : int or "auto", default "auto"
        Rows of a batch; "auto" is ``min(200, n_samples)``.
    learning_rate : {"constant", "invscaling", "adaptive"}, default "constant"
        Of "sgd": constant; ``learning_rate_init / t ** power_t``, t the rows trained on; or divided by 5 where more than
        `n_iter_no_change` epochs do not get better by `tol`.
    learning_rate_init : float, default 0.001
        The first learning rate.
    power_t : float, default 0.5
        The exponent of "invscaling".
    max_iter : int, default 200
        Epochs at most; with "lbfgs" iterations.
    shuffle : bool, default True
        Whether each epoch has a new order of rows.
    random_state : int, RandomState instance or None, default None
        For the first weights, the rows held out, and the orders.
    tol : float, default 1e-4
        What an improvement of the loss, or of the score, is at least.
    verbose : bool, default False
        Whether each epoch prints a line.
    warm_start : bool, default False
        Whether `fit` goes on from the network of the call before.
    momentum : float, default 0.9
        Of "sgd".
    nesterovs_momentum : bool, default True
        Whether it is Nesterov's.
    early_stopping : bool, default False
        Whether rows are held out, training stops where the score on them gets no better, and the best network comes back.
    validation_fraction : float, default 0.1
        How many rows are held out.
    beta_1, beta_2, epsilon : float, default 0.9, 0.999, 1e-8
        Of "adam".
    n_iter_no_change : int, default 10
        Epochs without an improvement, after which training stops.
    max_fun : int, default 15000
        Evaluations of the loss at most, of "lbfgs".
    loss : "log_loss" or Criterion, default "log_loss"
        Any criterion that takes scores of classes: ``CrossEntropyLoss(label_smoothing=0.1)``, ``BCEWithLogitsLoss()``,
        ``HingeLoss()``, or one of your own. With one that takes labels the network has an output for each of two classes, too.
    dropout : float, or list of one for each hidden layer, default 0
        How much of each hidden layer is left out in training.
    class_weight : dict, "balanced" or None, default None
        How much each class counts; times `sample_weight`.
    scoring : str, callable or None, default None
        What `early_stopping` goes by: any scorer of scikit-learn; by default accuracy.
    callbacks : Callback, callable, or list, optional
        As those of :func:`fastmlp.fit`: ``f(epoch, history) -> stop``.
    n_threads : int, optional
        Threads of training and prediction; by default as many as the work is worth. Results do not depend on it.
    dtype : "float32", "float64" or None, default None
        Of the parameters; None: float32 where X is of that and `solver` is not "lbfgs", else float64. "float32" is 1.3-2.4
        times as fast (docs/sklearn.md).

    Attributes
    ----------
    coefs_, intercepts_ : list of ndarray
        Weights (in, out) and intercepts of the layers: views of the parameters. What is assigned is taken over.
    model_ : Sequential
        The network, without its last activation.
    classes_ : ndarray, or list of them
        The labels.
    loss_, loss_curve_, best_loss_ : float, list, float
        The loss of the last epoch, of each, and the least; with the penalty.
    validation_scores_, best_validation_score_ : list, float
        Of `early_stopping`.
    validation_loss_curve_ : list
        The loss on held-out rows after each epoch, without the penalty.
    n_iter_, t_, n_layers_, n_outputs_, n_features_in_, feature_names_in_, out_activation_
        As in scikit-learn.

    Examples
    --------
    >>> from fastmlp.sklearn import MLPClassifier
    >>> from sklearn.datasets import make_classification
    >>> X, y = make_classification(n_samples=100, random_state=1)
    >>> clf = MLPClassifier(random_state=1, max_iter=300, tol=1e-3).fit(X, y)
    >>> clf.predict_proba(X[:1]).shape
    (1, 2)
    >>> clf.score(X, y)
    1.0
    """

    _parameter_constraints: ClassVar[dict] = {
        **BaseMLP._parameter_constraints,
        "loss": [StrOptions({"log_loss"}), Criterion],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
    }

    def __init__(
        self,
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
        loss="log_loss",
        dropout=0.0,
        class_weight=None,
        scoring=None,
        callbacks=None,
        n_threads=None,
        dtype=None,
    ):
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
        self.loss = loss
        self.dropout = dropout
        self.class_weight = class_weight
        self.scoring = scoring
        self.callbacks = callbacks
        self.n_threads = n_threads
        self.dtype = dtype

    # What the base asks for.

    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray, np.ndarray | None]:
        X, y = self._checked_pair(X, y, reset=reset)
        if not hasattr(self, "classes_") or (not self.warm_start and not incremental):
            self._label_binarizer = LabelBinarizer().fit(y)
            self.classes_ = self._label_binarizer.classes_
        else:
            classes = _labels_in(y)
            if self.warm_start:
                if set(classes) != set(self.classes_):
                    raise ValueError(
                        "warm_start can only be used where `y` has the same classes as in the previous call to fit. Previously "
                        f"got {self.classes_}, `y` has {classes}"
                    )
            elif len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
                raise ValueError(
                    f"`y` has classes not in `self.classes_`. `self.classes_` has {self.classes_}. 'y' has {classes}."
                )
        if self.class_weight == "balanced" and incremental:
            raise ValueError("class_weight='balanced' is not for partial_fit, which does not see all rows: give a dictionary")
        by_class = None if self.class_weight is None else compute_sample_weight(self.class_weight, y)
        return X, self._binarized(y), by_class

    def _binarized(self, y: np.ndarray) -> np.ndarray:
        kind = self._label_binarizer.y_type_
        if y.ndim > 1 or kind not in ("binary", "multiclass"):
            return np.asarray(self._label_binarizer.transform(y)).astype(bool)
        # Of labels that have been checked: LabelBinarizer checks them again, in a fifth of the time of a short training.
        numbers = np.searchsorted(self.classes_, y)
        return (numbers == 1)[:, None] if kind == "binary" else numbers[:, None] == np.arange(len(self.classes_))

    def _validate_held_out(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        X, y = self._checked_pair(X, y, reset=False)
        classes = _labels_in(y)
        if len(np.setdiff1d(classes, self.classes_, assume_unique=True)):
            raise ValueError(f"validation_data has classes that the training data lacks: {classes}, but not {self.classes_}")
        return X, self._binarized(y)

    def _make_criterion(self, y: np.ndarray, dtype: np.dtype) -> tuple[Criterion, int, float]:
        multiclass = self._label_binarizer.y_type_ == "multiclass"
        if isinstance(self.loss, str):
            self.out_activation_ = "softmax" if multiclass else "logistic"
            self._takes_labels = multiclass
            return (LogLoss(dtype) if multiclass else BinaryLogLoss(y.shape[1], dtype)), y.shape[1], 1.0
        criterion = copy.deepcopy(self.loss)
        check_for_classes(criterion)
        self._takes_labels = "labels" in criterion.targets
        if self._takes_labels and self._is_multilabel():
            raise ValueError(f"several labels of a row need a loss such as BCEWithLogitsLoss; {criterion!r} takes one")
        scores = isinstance(criterion, SCORES)
        self.out_activation_ = "identity" if scores else "softmax" if self._takes_labels else "logistic"
        return criterion, max(2, len(self.classes_)) if self._takes_labels else y.shape[1], 1.0

    def _is_multilabel(self) -> bool:
        return self._label_binarizer.y_type_.startswith("multilabel")

    def _targets(self, y: np.ndarray) -> np.ndarray:
        if self._takes_labels:
            return y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0].astype(np.int64)
        signs = self._criterion.targets[0] == "signs"
        numbers = np.asarray(y, self.model_.dtype)
        return 2 * numbers - 1 if signs else numbers

    def _decided(self, outputs: np.ndarray) -> np.ndarray:
        """The number of the class of each row, (N,); of several labels yes or no, (N, O)."""
        threshold = 0 if self.out_activation_ == "identity" else 0.5
        if self._is_multilabel():
            return outputs > threshold
        if outputs.shape[1] == 1:
            return (outputs[:, 0] > threshold).astype(np.intp)
        return outputs.argmax(axis=1)

    def _score_of(self, outputs: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> float:
        decided = self._decided(self._activated(outputs))
        if self._is_multilabel():
            right = (decided == y).all(axis=1)
        else:
            right = decided == (y.argmax(axis=1) if y.shape[1] > 1 else y[:, 0])
        return float(np.average(right, weights=weights))

    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        return self._label_binarizer.inverse_transform(y)

    def _predict(self, X: Any, check_input: bool = True) -> np.ndarray:
        decided = self._decided(self._forward_pass_fast(X, check_input=check_input))
        return self._labels_of(decided) if self._is_multilabel() else self.classes_.take(decided, mode="clip")

    # scikit-learn's methods.

    def predict(self, X: Any) -> np.ndarray:
        """The classes of the rows.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            The labels.
        """
        check_is_fitted(self)
        return self._predict(X)

    @available_if(lambda estimator: estimator._check_solver())
    @_fit_context(prefer_skip_nested_validation=True)
    def partial_fit(self, X: Any, y: Any, sample_weight: Any = None, classes: Any = None) -> MLPClassifier:
        """Train for one epoch on the given data.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.
        y : array-like of shape (n_samples,)
            The labels.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.
        classes : array of shape (n_classes,), optional
            All classes there will be; needed in the first call.

        Returns
        -------
        MLPClassifier
            The estimator.
        """
        if _check_partial_fit_first_call(self, classes):
            self._label_binarizer = LabelBinarizer()
            self._label_binarizer.fit(y if type_of_target(y).startswith("multilabel") else classes)
        return self._fit(X, y, sample_weight, True)  # type: ignore[return-value]

    @available_if(_gives_probabilities)
    def predict_proba(self, X: Any) -> np.ndarray:
        """The probabilities of the classes.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        check_is_fitted(self)
        outputs = self._forward_pass_fast(X)
        if outputs.shape[1] == 1:
            return np.hstack([1 - outputs, outputs])
        if self.out_activation_ == "logistic" and not self._is_multilabel():  # each class against the others
            outputs /= outputs.sum(axis=1, keepdims=True)
        return outputs

    @available_if(_gives_probabilities)
    def predict_log_proba(self, X: Any) -> np.ndarray:
        """The logarithms of :meth:`predict_proba`.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples, n_classes)
            In the order of ``classes_``.
        """
        probabilities = self.predict_proba(X)
        return np.log(probabilities, out=probabilities)

    @available_if(_gives_scores)
    def decision_function(self, X: Any) -> np.ndarray:
        """The scores of a network whose loss has no probabilities.

        Parameters
        ----------
        X : {array-like, sparse matrix} of shape (n_samples, n_features)
            The input data.

        Returns
        -------
        ndarray of shape (n_samples,) or (n_samples, n_classes)
            Of two classes one score, above 0 for the second.
        """
        check_is_fitted(self)
        outputs = self._forward_pass_fast(X)
        if outputs.shape[1] == 2 and not self._is_multilabel():
            return outputs[:, 1] - outputs[:, 0]
        return outputs.ravel() if outputs.shape[1] == 1 else outputs

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        return tags
