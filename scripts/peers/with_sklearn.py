"""scikit-learn's MLPClassifier and MLPRegressor, on the threads that its BLAS takes by itself."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.neural_network import MLPClassifier, MLPRegressor

from .predictor import Predictor
from .workloads import Problem

__all__ = ["ScikitLearn", "predictors"]


class ScikitLearn:
    """`fit` with a warm start from the common parameters."""

    name = "scikit-learn"

    def __init__(self, problem: Problem):
        self.problem = problem
        workload = problem.workload
        regression = workload.loss == "mse"
        # Its squared error is half of the sum over the outputs, where the others take the mean.
        rate = workload.learning_rate * 2 / workload.widths[-1] if regression else workload.learning_rate
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
        # Two classes make one logistic output there: the difference of everybody else's two, but trained at half their pace.
        self.same_network = regression or workload.widths[-1] > 2

    def reset(self) -> None:
        parameters = list(self.problem.parameters)
        if not self.same_network:
            weight, bias = parameters[-1]
            parameters[-1] = weight[1:] - weight[:1], bias[1:] - bias[:1]
        load(self.model, parameters)

    def epochs(self, count: int) -> None:
        self.model.max_iter = count
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # it would rather converge
            self.model.fit(self.problem.x, self.problem.y)

    def weights(self) -> list[np.ndarray]:
        arrays = [array for pair in zip(self.model.coefs_, self.model.intercepts_) for array in (pair[0].T, pair[1])]
        if not self.same_network:
            arrays[-2:] = [np.concatenate([np.zeros_like(array), array]) for array in arrays[-2:]]
        return arrays


def load(model, parameters: list[tuple[np.ndarray, np.ndarray]]) -> None:
    """Put parameters into a model that has been fitted."""
    for layer, (weight, bias) in enumerate(parameters):
        model.coefs_[layer][...], model.intercepts_[layer][...] = weight.T, bias


def predictors(problem: Problem, x: np.ndarray) -> list[Predictor]:
    """``predict`` of a regressor: its outputs are the network's, while a classifier goes on to probabilities."""
    workload = problem.workload
    model = MLPRegressor(hidden_layer_sizes=workload.widths[1:-1], activation=workload.activation, max_iter=1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather converge
        model.fit(problem.x[:2], problem.one_hot[:2])
    load(model, problem.parameters)
    return [Predictor("scikit-learn", lambda: model.predict(x))]
