"""scikit-learn's MLPClassifier and MLPRegressor."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from .workloads import LEARNING_RATE, Problem

__all__ = ["ScikitLearn"]


class ScikitLearn:
    """`fit` with a warm start from the common parameters."""

    name = "scikit-learn"

    def __init__(self, problem: Problem):
        self.problem = problem
        workload = problem.workload
        regression = workload.loss == "mse"
        # Its squared error is half of the sum over the outputs, where the others take the mean.
        rate = LEARNING_RATE * 2 / workload.widths[-1] if regression else LEARNING_RATE
        self.model = (MLPRegressor if regression else MLPClassifier)(
            hidden_layer_sizes=workload.widths[1:-1],
            activation=workload.activation,
            solver="sgd",
            alpha=0.0,
            batch_size=workload.batch,
            learning_rate_init=rate,
            momentum=0.0,
            nesterovs_momentum=False,
            shuffle=False,
            max_iter=1,
            tol=0.0,
            n_iter_no_change=10**9,
            warm_start=True,
        )
        self.epochs(1)
        # Two classes make one logistic output there: another network than everybody else's, so it cannot be compared.
        self.same_network = regression or workload.widths[-1] > 2

    def reset(self) -> None:
        if self.same_network:
            for layer, (weight, bias) in enumerate(self.problem.parameters):
                self.model.coefs_[layer][...], self.model.intercepts_[layer][...] = weight.T, bias

    def epochs(self, count: int) -> None:
        self.model.max_iter = count
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would rather converge
            self.model.fit(self.problem.x, self.problem.y)

    def weights(self) -> list[np.ndarray] | None:
        if not self.same_network:
            return None
        return [array for pair in zip(self.model.coefs_, self.model.intercepts_) for array in (pair[0].T, pair[1])]
