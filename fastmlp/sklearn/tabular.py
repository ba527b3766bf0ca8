"""Estimators for tables that are good without tuning: several networks, trained side by side on different rows, averaged."""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval
from sklearn.utils.validation import (
    _check_feature_names,
    _check_n_features,
    _check_sample_weight,
    check_is_fitted,
    validate_data,
)

from fastmlp.cores import cores
from fastmlp.criterion import Criterion
from fastmlp.modules import Module
from fastmlp.sklearn.columns import Columns, is_frame
from fastmlp.sklearn.folds import folds_of
from fastmlp.sklearn.member import network_of, optimizer_of, schedule_of
from fastmlp.training.callbacks import EarlyStopping
from fastmlp.training.fit import fit
from fastmlp.training.history import History
from fastmlp.training.many import fit_many

__all__ = ["Tabular", "taken"]

#: Epochs that a training which must end earlier is left, at least; below it there are fewer members.
LEAST_EPOCHS = 16


class Tabular(BaseEstimator):
    """The base of both."""

    _parameter_constraints: ClassVar[dict] = {
        "n_members": [Interval(Integral, 1, None, closed="left")],
        "hidden_layer_sizes": ["array-like", Interval(Integral, 1, None, closed="left")],
        "epochs": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "learning_rate_init": [Interval(Real, 0, None, closed="neither")],
        "categorical_features": ["array-like", None],
        "time_limit": [Interval(Real, 0, None, closed="neither"), None],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _held_out: list[np.ndarray]
    _activation: ClassVar[type[Module]]

    # What a subclass says.

    @abstractmethod
    def _criterion(self) -> Criterion:
        """The loss."""

    # Input.

    def _checked(self, X: Any, *, reset: bool) -> Any:
        """A frame as it is, else an array of numbers or objects."""
        if is_frame(X) and not hasattr(X, "toarray"):
            _check_feature_names(self, X, reset=reset)
            _check_n_features(self, X, reset=reset)
            if X.shape[0] < 1:
                raise ValueError(f"Found array with 0 sample(s) (shape={X.shape}) while a minimum of 1 is required.")
            return X
        X = validate_data(self, X, reset=reset, dtype=None, ensure_all_finite="allow-nan")
        return X.astype(object) if X.dtype.kind in "US" else X

    def _fit(self, X: Any, targets: np.ndarray, strata: np.ndarray, sample_weight: Any, outputs: int) -> None:
        """Train the members on targets (labels, or standardised numbers); `strata` are shared out evenly."""
        began = time.perf_counter()
        generator = check_random_state(self.random_state)
        count = len(targets)
        weights = None if sample_weight is None else _check_sample_weight(sample_weight, X, ensure_non_negative=True)
        self.columns_ = Columns(X, self.categorical_features)
        x = self.columns_.transform(X)
        sizes = self.hidden_layer_sizes
        hidden = [int(size) for size in sizes] if hasattr(sizes, "__iter__") else [int(sizes)]
        epochs = int(self.epochs)
        members = int(self.n_members)
        draws = np.random.default_rng(generator.randint(2**31 - 1, size=4))
        if self.time_limit is not None:
            epochs, members = self._within_limit(x, targets, outputs, hidden, epochs, members, began)
        self._held_out = folds_of(strata, members, draws)
        models = [network_of(self.columns_, hidden, outputs, self._activation, draws) for _ in range(members)]
        kept = [~held if held.any() else np.ones(count, bool) for held in self._held_out]
        held = [held if held.any() else np.ones(count, bool) for held in self._held_out]
        optimizers = [optimizer_of(model, float(self.learning_rate_init)) for model in models]
        batch = min(int(self.batch_size), *(int(rows.sum()) for rows in kept))
        schedules = [schedule_of(opt, epochs * -(-int(rows.sum()) // batch)) for opt, rows in zip(optimizers, kept)]
        options: dict[str, Any] = {} if weights is None else {"sample_weight": [weights[rows] for rows in kept]}
        if self.time_limit is not None:
            left = max(0.05, self.time_limit - (time.perf_counter() - began))
            options["max_seconds"] = left / _rounds(members, self.n_threads)
        self.histories_ = fit_many(
            models,
            self._criterion(),
            optimizers,
            [x[rows] for rows in kept],
            [targets[rows] for rows in kept],
            rng=[int(seed) for seed in draws.integers(2**31, size=members)],
            threads=self.n_threads,
            epochs=epochs,
            batch_size=batch,
            schedule=schedules,
            validation=[(x[rows], targets[rows], taken(weights, rows)) for rows in held],
            callbacks=EarlyStopping(patience=epochs),
            **options,
        )
        for model in models:
            model.eval()
        self.models_, self.n_iter_ = models, epochs
        if self.verbose:
            for number, history in enumerate(self.histories_):
                best = int(np.argmin(history.validation_loss))
                print(
                    f"member {number + 1} of {members}: best epoch {best + 1} of {history.epochs}, "
                    f"validation loss {history.validation_loss[best]:.4f}"
                )
        sums, times = np.zeros((count, outputs)), np.zeros((count, 1))
        for model, rows in zip(models, self._held_out):
            if rows.any():
                sums[rows] += model.predict(x[rows])
                times[rows] += 1
        self._out_of_bag = np.where(times > 0, sums / np.maximum(times, 1), np.nan)

    def _within_limit(
        self, x: np.ndarray, targets: np.ndarray, outputs: int, hidden: list[int], epochs: int, members: int, began: float
    ) -> tuple[int, int]:
        """The epochs and members that `time_limit` has room for, by the time that two epochs of a network take."""
        model = network_of(self.columns_, hidden, outputs, self._activation, np.random.default_rng(0))
        optimizer = optimizer_of(model, float(self.learning_rate_init))
        how: dict[str, Any] = {"threads": 1, "rng": 0, "progress": False}
        fit(model, self._criterion(), optimizer, x[:2], targets[:2], epochs=1, **how)  # compiles
        how["batch_size"] = min(int(self.batch_size), len(x))
        history: History = fit(model, self._criterion(), optimizer, x, targets, epochs=2, max_seconds=self.time_limit, **how)
        each = sum(history.seconds) / max(history.epochs, 1)
        left = 0.85 * self.time_limit - (time.perf_counter() - began)

        def room(members: int) -> float:
            """For how many epochs there is time."""
            return left / max(each * _rounds(members, self.n_threads), 1e-9)

        while members > 1 and room(members) < LEAST_EPOCHS:
            members //= 2
        return max(1, min(epochs, int(room(members)))), members

    def _outputs(self, X: Any) -> list[np.ndarray]:
        """What each member says of the rows of `X`."""
        check_is_fitted(self)
        x = self.columns_.transform(self._checked(X, reset=False))
        return [model.predict(x, threads=self.n_threads) for model in self.models_]

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        tags.input_tags.categorical = True
        tags.non_deterministic = False
        return tags


def _rounds(members: int, threads: int | None) -> int:
    """How many members a thread takes one after the other."""
    return math.ceil(members / (threads or cores()))


def taken(weights: Any, rows: np.ndarray) -> np.ndarray | None:
    """The weights of some rows."""
    return None if weights is None else np.asarray(weights)[rows]
