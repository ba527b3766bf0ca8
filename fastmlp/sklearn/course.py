"""What scikit-learn does between two epochs: the loss, the score on held-out rows, the rate, the decision to stop."""

from __future__ import annotations

import copy
import math
from typing import Any

import numpy as np

from fastmlp.sklearn.optimizers import PenalisedOptimizer
from fastmlp.sklearn.rows import ShuffledRows
from fastmlp.training.history import History

__all__ = ["Course", "HeldOut"]


class HeldOut:
    """Rows that are not trained on: `x` is what the network takes, `y` what is scored, `targets` what the criterion takes."""

    def __init__(self, x: Any, y: np.ndarray, targets: np.ndarray, weights: np.ndarray | None):
        self.x, self.y, self.targets, self.weights = x, y, targets, weights


class Course:
    """What an estimator that is being trained hears of its epochs: its attributes are scikit-learn's."""

    def __init__(
        self, estimator: Any, optimizer: PenalisedOptimizer, data: ShuffledRows, held_out: HeldOut | None, *, once: bool
    ):
        self.estimator, self.optimizer, self.data, self.held_out, self.once = estimator, optimizer, data, held_out, once
        self.rows, self.alpha = data.rows, float(estimator.alpha)
        self.scored = estimator.early_stopping and not once
        self.scorer: Any = None
        if self.scored and estimator.scoring is not None:
            from sklearn.metrics import check_scoring

            self.scorer = check_scoring(estimator, estimator.scoring)

    def heard(self, loss: float, squares: float, history: History) -> bool:
        """Note an epoch by the engine's loss, and by the squares of the weights in its steps; say whether it was the last."""
        penalty = 0.5 * self.alpha * squares / self.rows
        return self.note(loss * self.estimator._loss_share + penalty, history)

    def note(self, loss: float, history: History | None) -> bool:
        """Note an epoch, and say whether it was the last; without a history its numbers are no numbers."""
        here, optimizer = self.estimator, self.optimizer
        here.n_iter_ += 1
        here.loss_ = loss
        here.t_ += self.rows
        here.loss_curve_.append(loss)
        if here.verbose:
            print(f"Iteration {here.n_iter_}, loss = {loss:.8f}")
        self._judge(history)
        optimizer.epoch_ends(here.t_)
        if here._no_improvement_count > here.n_iter_no_change:
            what = "Validation score" if self.scored else "Training loss"
            text = f"{what} did not improve more than tol={here.tol:f} for {here.n_iter_no_change:d} consecutive epochs."
            if not optimizer.slow_down():
                small = optimizer.schedule == "adaptive"
                self._say(text + (" Learning rate too small. Stopping." if small else " Stopping."))
                return True
            self._say(f"{text} Setting learning rate to {optimizer.learning_rate:f}")
            here._no_improvement_count = 0
        return False

    def _say(self, text: str) -> None:
        if self.estimator.verbose:
            print(text)

    def _judge(self, history: History | None) -> None:
        """Count epochs without an improvement."""
        here = self.estimator
        score = math.nan
        if self.held_out is not None and history is not None:
            outputs = here._outputs_of(self.held_out.x)
            given = () if self.held_out.weights is None else (self.held_out.weights,)
            loss = float(here._criterion(outputs, self.held_out.targets, *given)) * here._loss_share
            here.validation_loss_curve_.append(loss)
            history.validation_loss.append(loss)
            score = self._score(outputs) if self.scored else score
        elif self.held_out is not None:
            here.validation_loss_curve_.append(math.nan)
        if self.scored:
            here.validation_scores_.append(score)
            if here.verbose:
                print(f"Validation score: {score:f}")
            worse, better = score < here.best_validation_score_ + here.tol, score > here.best_validation_score_
            if better:
                here.best_validation_score_ = score
                here._best_parameters = here.model_.storage.data.copy()
        else:
            worse, better = here.loss_ > here.best_loss_ - here.tol, here.loss_ < here.best_loss_
            here.best_loss_ = here.loss_ if better else here.best_loss_
        here._no_improvement_count = here._no_improvement_count + 1 if worse else 0

    def _score(self, outputs: np.ndarray) -> float:
        here, held_out = self.estimator, self.held_out
        assert held_out is not None
        if self.scorer is None:
            return float(here._score_of(outputs, held_out.y, held_out.weights))
        # A scorer predicts from an array, which has no names of features: it is given an estimator that knows none.
        twin = copy.copy(here)
        twin.__dict__.pop("feature_names_in_", None)
        given = {} if held_out.weights is None else {"sample_weight": held_out.weights}
        return float(self.scorer(twin, held_out.x, here._labels_of(held_out.y), **given))
