"""What the classifier and the regressor have in common: scikit-learn's fit, on the engine of fastmlp."""

from __future__ import annotations

import math
import warnings
from abc import abstractmethod
from itertools import pairwise
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, _fit_context, is_classifier
from sklearn.exceptions import ConvergenceWarning
from sklearn.model_selection import train_test_split
from sklearn.utils import check_random_state, column_or_1d
from sklearn.utils._param_validation import Interval, Options, StrOptions
from sklearn.utils.validation import _check_sample_weight, check_is_fitted, validate_data

from fastmlp.criterion import Criterion
from fastmlp.kernels.scan import all_finite
from fastmlp.modules import Module, Sequential
from fastmlp.parameters import Parameter
from fastmlp.predictor import Predictor, compiled
from fastmlp.sklearn.course import Course, HeldOut
from fastmlp.sklearn.epochs import EpochLoop
from fastmlp.sklearn.folded import folded
from fastmlp.sklearn.lbfgs import Lbfgs
from fastmlp.sklearn.network import ACTIVATIONS, Bound, as_activations, as_dropouts, bias_of, built, linears
from fastmlp.sklearn.optimizers import PenalisedAdam, PenalisedOptimizer, PenalisedSGD
from fastmlp.sklearn.rows import ShuffledRows, dense, is_sparse, predicted
from fastmlp.training.callbacks import Callback, Training, as_callbacks
from fastmlp.training.fit import _make_run
from fastmlp.training.history import History, NonFiniteLossError, carried_by_failures
from fastmlp.training.inputs import Rows, check_data
from fastmlp.training.interrupts import interrupts_watched
from fastmlp.training.loop import alone
from fastmlp.training.run import Rates

__all__ = ["BaseMLP"]

FLOATS = (np.float64, np.float32)
TOO_LARGE = "Solver produced non-finite parameter weights. The input data may contain large values and need to be preprocessed."
NO_CONVERGENCE = "Stochastic Optimizer: Maximum iterations ({}) reached and the optimization hasn't converged yet."


class BaseMLP(BaseEstimator):
    """The base of MLPClassifier and MLPRegressor."""

    _parameter_constraints: ClassVar[dict] = {
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "activation": [StrOptions(set(ACTIVATIONS)), list, tuple, Module, type],
        "solver": [StrOptions({"lbfgs", "sgd", "adam"})],
        "alpha": [Interval(Real, 0, None, closed="left")],
        "batch_size": [StrOptions({"auto"}), Interval(Integral, 1, None, closed="left")],
        "learning_rate": [StrOptions({"constant", "invscaling", "adaptive"})],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "power_t": [Interval(Real, 0, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "shuffle": ["boolean"],
        "random_state": ["random_state"],
        "tol": [Interval(Real, 0, None, closed="left")],
        "verbose": ["verbose"],
        "warm_start": ["boolean"],
        "momentum": [Interval(Real, 0, 1, closed="both")],
        "nesterovs_momentum": ["boolean"],
        "early_stopping": ["boolean"],
        "validation_fraction": [Interval(Real, 0, 1, closed="left")],
        "beta_1": [Interval(Real, 0, 1, closed="left")],
        "beta_2": [Interval(Real, 0, 1, closed="left")],
        "epsilon": [Interval(Real, 0, None, closed="neither")],
        "n_iter_no_change": [Interval(Integral, 1, None, closed="left"), Options(Real, {np.inf})],
        "max_fun": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left"), list, tuple],
        "scoring": [str, callable, None],
        "callbacks": [callable, Callback, list, tuple, None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "dtype": "no_validation",
    }

    # What a subclass says.

    @abstractmethod
    def _validate_input(self, X: Any, y: Any, incremental: bool, reset: bool) -> tuple[Any, np.ndarray, np.ndarray | None]:
        """X, y as two axes (numbers, or yes and no), and how much each row counts by its class."""

    @abstractmethod
    def _make_criterion(self, y: np.ndarray, dtype: np.dtype) -> tuple[Criterion, int, float]:
        """The criterion, the number of outputs, and the factor from its loss to scikit-learn's."""

    @abstractmethod
    def _targets(self, y: np.ndarray) -> np.ndarray:
        """What the criterion takes for `y`."""

    @abstractmethod
    def _score_of(self, outputs: np.ndarray, y: np.ndarray, weights: np.ndarray | None) -> float:
        """The score by which training stops."""

    @abstractmethod
    def _labels_of(self, y: np.ndarray) -> np.ndarray:
        """`y` as the user has it."""

    # The state.

    def _bind(self, model: Sequential) -> None:
        """Have `coefs_` and `intercepts_` be views of a network's parameters."""
        bound = Bound(model)
        self.model_, self._bound = model, bound
        self.coefs_, self.intercepts_ = list(bound.coefs), list(bound.intercepts)

    def _network(self) -> Sequential:
        """The network, with what somebody has assigned to `coefs_` and `intercepts_`."""
        bound = self.__dict__.get("_bound")
        if bound is None or not bound.holds(self.coefs_, self.intercepts_):
            self._take_over(bound)
        return self.model_

    def _take_over(self, bound: Bound | None) -> None:
        """Put arrays that are no views into the network; make it anew where they have other shapes."""
        coefs, intercepts = [np.asarray(c) for c in self.coefs_], [np.asarray(i) for i in self.intercepts_]
        units = [coef.shape[0] for coef in coefs[:1]] + [coef.shape[-1] for coef in coefs]
        shapes = list(pairwise(units))
        if [c.shape for c in coefs] != shapes or [i.shape for i in intercepts] != [(unit,) for unit in units[1:]]:
            raise ValueError(
                "coefs_ and intercepts_ must be arrays (in, out) and (out,) whose widths chain; got "
                f"{[c.shape for c in coefs]} and {[i.shape for i in intercepts]}"
            )
        model = self.__dict__.get("model_")
        if model is None or [layer.weight.shape[::-1] for layer in linears(model)] != shapes:
            dtype = np.dtype(np.float32 if all(c.dtype == np.float32 for c in coefs) else np.float64)
            model = self._new_network(units, dtype)[0]
            for name in ("_optimizer", "_best_parameters"):
                self.__dict__.pop(name, None)
        for layer, coef, intercept in zip(linears(model), coefs, intercepts):
            if not _is_part(coef, layer.weight):
                layer.weight.data = coef.T
            if not _is_part(intercept, bias_of(layer)):
                bias_of(layer).data = intercept
        self._bind(model)

    def _new_network(self, units: list[int], dtype: np.dtype) -> tuple[Sequential, list[str]]:
        activations = as_activations(self.activation, len(units) - 2)
        dropouts = as_dropouts(self.dropout, len(units) - 2)
        names = [name for name, _ in activations]
        return built(units, [activation for _, activation in activations], dropouts, dtype), names

    def _initialize(self, units: list[int], dtype: np.dtype) -> None:
        """The first values, drawn as scikit-learn draws them: in float64, weight then intercept, layer by layer."""
        self.n_iter_ = self.t_ = 0
        self.n_layers_ = len(units)
        model, names = self._new_network(units, dtype)
        names.append(names[-1] if names else str(self.activation))
        for layer, name in zip(linears(model), names):
            bound = np.sqrt((2.0 if name in ("logistic", "sigmoid") else 6.0) / (layer.in_features + layer.out_features))
            layer.weight.data = self._random_state.uniform(-bound, bound, layer.weight.shape[::-1]).T
            bias_of(layer).data = self._random_state.uniform(-bound, bound, bias_of(layer).shape)
        for module in model.modules():
            if module.draws:  # dropout
                module.reset_parameters(int(self._random_state.randint(2**31 - 1)))
        self._bind(model)
        self._best_parameters = model.storage.data.copy()
        if self.solver != "lbfgs":
            self.loss_curve_: list[float] = []
            self.validation_loss_curve_: list[float] = []
            self._no_improvement_count = 0
            self.validation_scores_: list[float] | None = [] if self.early_stopping else None
            self.best_validation_score_ = -np.inf if self.early_stopping else None
            self.best_loss_ = None if self.early_stopping else np.inf

    def __getstate__(self) -> dict:
        if "_bound" not in self.__dict__:
            return super().__getstate__()
        self._network()  # an assignment counts; views are made anew where the network is
        return {
            name: value for name, value in super().__getstate__().items() if name not in ("_bound", "coefs_", "intercepts_")
        }

    def __setstate__(self, state: dict) -> None:
        super().__setstate__(state)
        if "model_" in self.__dict__ and "coefs_" not in self.__dict__:
            self._bind(self.model_)

    def __copy__(self) -> BaseMLP:
        # It shares the network, as a copy that is not deep does.
        twin = object.__new__(type(self))
        twin.__dict__.update(self.__dict__)
        return twin

    # Training.

    def _fit(self, X: Any, y: Any, sample_weight: Any, incremental: bool, validation_data: Any = None) -> BaseMLP:
        sizes = list(self.hidden_layer_sizes) if hasattr(self.hidden_layer_sizes, "__iter__") else [self.hidden_layer_sizes]
        if np.any(np.array(sizes) <= 0):
            raise ValueError(f"hidden_layer_sizes must be > 0, got {sizes}.")
        first_pass = not hasattr(self, "coefs_") or (not self.warm_start and not incremental)
        X, y, by_class = self._validate_input(X, y, incremental, reset=first_pass)
        if sample_weight is not None:
            sample_weight = _check_sample_weight(sample_weight, X)
        if by_class is not None:
            sample_weight = by_class if sample_weight is None else sample_weight * by_class
        dtype = self._dtype_for(X)
        if not first_pass:
            dtype = self._network().dtype
        self._criterion, outputs, self._loss_share = self._make_criterion(y, dtype)
        self.n_outputs_ = outputs
        self._random_state = check_random_state(self.random_state)
        if first_pass:
            self._initialize([X.shape[1], *map(int, sizes), outputs], dtype)
        model = self._network()
        if X.shape[1] != model._width_in() or outputs != model._width_out(X.shape[1]):
            raise ValueError(
                f"the network has {model._width_in()} inputs and {model._width_out(X.shape[1])} outputs, the data {X.shape[1]} "
                f"and {outputs}: fit without warm_start begins anew"
            )
        if self.solver == "lbfgs":
            self._fit_lbfgs(X, y, sample_weight)
        else:
            self._fit_stochastic(X, y, sample_weight, incremental, validation_data)
        if not all_finite(self.model_.storage.data):
            raise ValueError(TOO_LARGE)
        return self

    def _checked_pair(self, X: Any, y: Any, *, reset: bool, **how: Any) -> tuple[Any, np.ndarray]:
        """X and y by scikit-learn's checks; a `y` of one column has one axis then, which a warning says."""
        X, y = validate_data(self, X, y, accept_sparse=["csr", "csc"], multi_output=True, dtype=FLOATS, reset=reset, **how)
        if y.ndim == 2 and y.shape[1] == 1:
            y = column_or_1d(y, warn=True)
        return X, y

    def _dtype_for(self, X: Any) -> np.dtype:
        """The dtype of the parameters: that of the data, unless `dtype` says it. SciPy's L-BFGS computes in float64."""
        if self.dtype is not None:
            dtype = np.dtype(self.dtype)
            if dtype.type not in FLOATS:
                raise ValueError(f"dtype must be float32 or float64; got {self.dtype!r}")
            return dtype
        return np.dtype(np.float64) if self.solver == "lbfgs" else np.dtype(X.dtype)

    def _fit_lbfgs(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> None:
        from sklearn.utils.optimize import _check_optimize_result

        if self.verbose:
            print(f"L-BFGS on {X.shape[0]} rows, at most {self.max_iter} iterations")
        objective = self._objective(X, y, weights)
        with alone(self.model_):
            result = objective.minimized(self.max_iter, self.max_fun, self.tol)
        self.n_iter_ = _check_optimize_result("lbfgs", result, self.max_iter)
        self.loss_ = result.fun
        if self.verbose:
            print(f"loss = {self.loss_:.8f} after {self.n_iter_} iterations: {result.message}")

    def _objective(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> Lbfgs:
        """The loss over these rows and its gradient, as L-BFGS takes them."""
        model = self._network()
        rows = dense(X, model.dtype), self._targets(y), weights
        return Lbfgs(model, self._criterion, self._loss_share, self.alpha, rows)

    def _loss_grad_lbfgs(self, theta: Any, X: Any, y: np.ndarray, *rest: Any) -> tuple[float, np.ndarray]:
        """The loss and its gradient where `theta` holds all weights, then all intercepts; scikit-learn's private method.

        The lists that it fills in there are ignored; before them come weights of rows, from version 1.7 on. The parameters stay
        `theta`.
        """
        weights = rest[0] if rest and not isinstance(rest[0], list) else None
        return self._objective(X, np.asarray(y), weights)(theta)

    def _make_optimizer(self) -> PenalisedOptimizer:
        groups = PenalisedOptimizer.groups(self.model_, float(self.alpha))
        lr = float(self.learning_rate_init)
        if self.solver == "adam":
            return PenalisedAdam(groups, lr, self.beta_1, self.beta_2, self.epsilon)
        return PenalisedSGD(groups, lr, self.momentum, self.nesterovs_momentum, self.learning_rate, self.power_t)

    def _fit_stochastic(
        self, X: Any, y: np.ndarray, weights: np.ndarray | None, incremental: bool, validation_data: Any
    ) -> None:
        if not incremental or not hasattr(self, "_optimizer"):
            self._optimizer = self._make_optimizer()
        self._optimizer.param_groups[0]["alpha"] = float(self.alpha)  # set_params between two calls of partial_fit counts
        if self.early_stopping and incremental:
            raise ValueError("partial_fit does not support early_stopping=True")
        model, optimizer = self.model_, self._optimizer
        X, y, weights, held_out = self._held_out(X, y, weights, validation_data)
        count = X.shape[0]
        if self.batch_size == "auto":
            batch_size = min(200, count)
        else:
            if self.batch_size > count:
                _warn("Got `batch_size` less than 1 or larger than sample size. It is going to be clipped")
            batch_size = int(np.clip(self.batch_size, 1, count))
        rows = self._rows(X, y, weights)
        epochs = 1 if incremental else self.max_iter
        generator = self._random_state if self.shuffle else None
        data = ShuffledRows(rows, X, batch_size, generator, optimizer, epochs)
        course = Course(self, optimizer, data, held_out, once=incremental)
        if not hasattr(self, "loss_curve_"):
            self.loss_curve_ = []
        if not hasattr(self, "validation_loss_curve_"):
            self.validation_loss_curve_ = []
        self.n_iter_ = 0
        try:
            self._train(data, course, epochs, held_out is not None)
        except NonFiniteLossError:
            if not self.early_stopping:
                raise ValueError(TOO_LARGE) from None
            # What is not finite stays so: scikit-learn goes on to the last epoch, and brings the best parameters back.
            while self.n_iter_ < epochs and not course.note(math.nan, None):
                pass
        except KeyboardInterrupt:
            _warn("Training interrupted by user.")
        else:
            stopped = self._no_improvement_count > self.n_iter_no_change
            if self.n_iter_ == self.max_iter and not incremental and not stopped:
                _warn(NO_CONVERGENCE.format(self.max_iter), ConvergenceWarning)
        if self.early_stopping:
            model.storage.data[:] = self._best_parameters

    def _train(self, data: ShuffledRows, course: Course, epochs: int, validated: bool) -> None:
        """Take the epochs."""
        model, optimizer, history = self.model_, self._optimizer, History()
        listeners = as_callbacks(self.callbacks)
        columns = ("loss", *(("validation_loss",) if validated else ()), "rate", "seconds")
        with carried_by_failures(history), alone(model), interrupts_watched():
            training = Training(model, self._criterion, optimizer, None, history, 0, epochs, columns)
            model.train()
            rates = Rates(optimizer, None, 0, data.batches)
            run = _make_run(model, self._criterion, optimizer, data, 0, rates, self.n_threads)
            EpochLoop(run, training, course, listeners, self.n_threads).train()
        self.history_ = history

    def _rows(self, X: Any, y: np.ndarray, weights: np.ndarray | None) -> Rows:
        """Inputs, targets and weights as the kernels take them; of sparse inputs one row."""
        model, targets = self.model_, self._targets(y)
        if not is_sparse(X):
            return check_data(model, self._criterion, dense(X, model.dtype), targets, weights, "", finite=False)
        width = model._width_out(X.shape[1])
        one = dense(X.tocsr()[:1], model.dtype)
        y_all = self._criterion._check_targets(targets, width, model.dtype, len(targets), "y", finite=True)  # type: ignore[arg-type]
        weights = self._criterion._check_weights(weights, y_all, model.dtype, "sample_weight")
        return Rows(one, y_all, weights)

    def _held_out(
        self, X: Any, y: np.ndarray, weights: np.ndarray | None, given: Any
    ) -> tuple[Any, np.ndarray, np.ndarray | None, HeldOut | None]:
        """What is trained on, and what is not."""
        if given is not None:
            if not isinstance(given, (tuple, list)) or len(given) not in (2, 3):
                raise ValueError("validation_data must be (X, y) or (X, y, sample_weight)")
            X_val, y_val, w_val = (*given, None)[:3]
            X_val, y_val = self._validate_held_out(X_val, y_val)
            w_val = None if w_val is None else _check_sample_weight(w_val, X_val)
        elif self.early_stopping:
            stratify = y if is_classifier(self) and y.shape[1] == 1 else None  # two classes give their shares
            arrays = (X, y) if weights is None else (X, y, weights)
            parts = train_test_split(
                *arrays, random_state=self._random_state, test_size=self.validation_fraction, stratify=stratify
            )
            X, X_val, y, y_val = parts[:4]
            weights, w_val = parts[4:] if weights is not None else (None, None)
            if X_val.shape[0] < 2:
                raise ValueError("The validation set is too small. Increase 'validation_fraction' or the size of your dataset.")
        else:
            return X, y, weights, None
        return X, y, weights, HeldOut(X_val, y_val, self._targets(y_val), w_val)

    def _validate_held_out(self, X: Any, y: Any) -> tuple[Any, np.ndarray]:
        """Data to validate on, of a user, as `_validate_input` gives them."""
        return self._validate_input(X, y, False, False)[:2]

    # Prediction.

    def _outputs_of(self, X: Any) -> np.ndarray:
        """The outputs of the network before the last activation."""
        return predicted(self._network(), X, self.n_threads)

    def _forward_pass_fast(self, X: Any, check_input: bool = True) -> np.ndarray:
        """The outputs behind the last activation, which is ``out_activation_``."""
        if check_input:
            X = self._checked_input(X)
        return self._activated(self._outputs_of(X))

    def _checked_input(self, X: Any) -> Any:
        # scikit-learn's checks take a hundred times as long as a small network needs for a row: a plain array that passes them
        # in any case goes past them.
        here = self.__dict__
        if (
            type(X) is np.ndarray
            and X.ndim == 2
            and X.shape[1] == here.get("n_features_in_")
            and len(X)
            and X.dtype.type in FLOATS
            and "feature_names_in_" not in here
            and all_finite(np.ascontiguousarray(X).reshape(-1))
        ):
            return X
        return validate_data(self, X, accept_sparse=["csr", "csc"], reset=False)

    def _activated(self, outputs: np.ndarray) -> np.ndarray:
        kind = self.out_activation_
        with np.errstate(over="ignore", under="ignore"):
            if kind == "logistic":
                from scipy.special import expit

                return expit(outputs, out=outputs)
            if kind == "softmax":
                outputs -= outputs.max(axis=1, keepdims=True)
                np.exp(outputs, out=outputs)
                outputs /= outputs.sum(axis=1, keepdims=True)
            elif kind == "exp":
                np.exp(outputs, out=outputs)
        return outputs

    def _check_solver(self) -> bool:
        if self.solver not in ("sgd", "adam"):
            raise AttributeError(f"partial_fit is only available for stochastic optimizers. {self.solver} is not stochastic.")
        return True

    @_fit_context(prefer_skip_nested_validation=True)
    def fit(self, X: Any, y: Any, sample_weight: Any = None, *, validation_data: Any = None) -> Any:
        """Fit the model to data matrix X and target(s) y.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (n_samples, n_features)
            The input data.
        y : ndarray of shape (n_samples,) or (n_samples, n_outputs)
            The target values: class labels, or numbers.
        sample_weight : array-like of shape (n_samples,), optional
            How much each row counts.
        validation_data : (X, y) or (X, y, sample_weight), optional
            What ``validation_loss_curve_`` is of, and `early_stopping`, instead of a part of X.

        Returns
        -------
        object
            The estimator.
        """
        return self._fit(X, y, sample_weight, False, validation_data)

    def compiled(self, scaler: Any = None) -> Predictor:
        """The network for compiled code: your ``@njit`` functions, SciPy, C; see :func:`fastmlp.compiled`.

        Parameters
        ----------
        scaler : transformer, optional
            What stands before the estimator and is affine in each feature (a fitted StandardScaler, MinMaxScaler, ...): it
            becomes a part of the first layer, so that rows are given as they come.

        Returns
        -------
        Predictor
            Of a copy of the network. Its outputs are those of `predict_proba` (of two classes the probability of the second),
            or of `predict`.

        Examples
        --------
        >>> from fastmlp.sklearn import MLPRegressor
        >>> from sklearn.datasets import load_diabetes
        >>> from sklearn.pipeline import make_pipeline
        >>> from sklearn.preprocessing import StandardScaler
        >>> X, y = load_diabetes(return_X_y=True)
        >>> pipeline = make_pipeline(StandardScaler(), MLPRegressor(max_iter=20, tol=1e4)).fit(X, y)
        >>> net = pipeline[-1].compiled(pipeline[0])
        >>> bool(abs(net.predict(X)[:, 0] - pipeline.predict(X)).max() < 1e-6)
        True
        """
        check_is_fitted(self)
        return compiled(folded(self._network(), self.out_activation_, scaler))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.sparse = True
        return tags

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "coefs_")


def _is_part(array: np.ndarray, parameter: Parameter) -> bool:
    """Whether an array is a view of a parameter's numbers, so that there is nothing to copy."""
    first = array.__array_interface__["data"][0]
    return array.size == parameter.size and first == parameter.data.__array_interface__["data"][0]


def _warn(text: str, kind: type[Warning] = UserWarning) -> None:
    """Warn, in the name of who called `fit`: below it are its decorator, itself, and two methods."""
    warnings.warn(text, kind, stacklevel=6)
