"""fastmlp: whole epochs in `fit`, single steps of its modules, and `predict`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import fastmlp as fm

from .predictor import Predictor
from .workloads import EPS, Problem

__all__ = ["FastmlpEager", "FastmlpFit", "FastmlpMany", "FastmlpOneByOne", "predictors"]


def network(problem: Problem) -> fm.Sequential:
    """The problem's network, with its parameters."""
    workload = problem.workload
    layers: list[fm.Module] = []
    for wide, narrow in pairwise(workload.widths[:-1]):
        layers.append(fm.Linear(wide, narrow, bias=not workload.batch_norm))
        if workload.batch_norm:
            layers.append(fm.BatchNorm1d(narrow, eps=EPS))
        layers.append({"relu": fm.ReLU, "tanh": fm.Tanh}[workload.activation]())
        if workload.dropout:
            layers.append(fm.Dropout(workload.dropout, rng=0))
    model = fm.Sequential(*layers, fm.Linear(*workload.widths[-2:]))
    for parameter, array in zip(model.parameters(), problem.flat_parameters):
        parameter.data[...] = array
    return model


class _Fastmlp:
    def __init__(self, problem: Problem):
        self.problem = problem
        self.model = network(problem)
        self.criterion = fm.MSELoss() if problem.workload.loss == "mse" else fm.CrossEntropyLoss()
        self._begin = {name: np.copy(value) for name, value in self.model.state_dict().items()}
        self.reset()

    def reset(self) -> None:
        self.model.load_state_dict(self._begin)
        kind = {"sgd": fm.SGD, "adam": fm.Adam}[self.problem.workload.optimizer]
        self.optimizer = kind(self.model.parameters(), lr=self.problem.workload.learning_rate)

    def weights(self) -> list[np.ndarray]:
        return [parameter.data for parameter in self.model.parameters()]


class FastmlpFit(_Fastmlp):
    """`fit`, with as many threads as it takes by itself unless `threads` says otherwise."""

    name = "fastmlp"

    def __init__(self, problem: Problem, threads: int | None = None):
        super().__init__(problem)
        self.threads = threads

    def epochs(self, count: int) -> None:
        fm.fit(
            self.model,
            self.criterion,
            self.optimizer,
            self.problem.x,
            self.problem.y,
            epochs=count,
            batch_size=self.problem.workload.batch,
            shuffle=False,
            threads=self.threads,
            progress=False,
        )


class FastmlpOneByOne:
    """Many networks, each by a `fit` of its own, one after the other."""

    name = "one after the other"

    def __init__(self, problems: list[Problem]):
        self.fits = [FastmlpFit(problem) for problem in problems]

    def reset(self) -> None:
        for fit in self.fits:
            fit.reset()

    def epochs(self, count: int) -> None:
        for fit in self.fits:
            fit.epochs(count)

    def weights(self) -> list[list[np.ndarray]]:
        return [fit.weights() for fit in self.fits]


class FastmlpMany(FastmlpOneByOne):
    """`fit_many`, on as many threads as there are cores."""

    name = "fastmlp"

    def epochs(self, count: int) -> None:
        first = self.fits[0]
        fm.fit_many(
            [fit.model for fit in self.fits],
            first.criterion,
            [fit.optimizer for fit in self.fits],
            first.problem.x,
            first.problem.y,
            epochs=count,
            batch_size=first.problem.workload.batch,
            shuffle=False,
        )


class FastmlpEager(_Fastmlp):
    """The hand-written loop."""

    name = "fastmlp eager"

    def epochs(self, count: int) -> None:
        x, y, batch = self.problem.x, self.problem.y, self.problem.workload.batch
        for _ in range(count):
            for first in range(0, len(x), batch):
                self.criterion(self.model(x[first : first + batch]), y[first : first + batch])
                self.optimizer.zero_grad()
                self.model.backward(self.criterion.backward())
                self.optimizer.step()


def predictors(problem: Problem, x: np.ndarray) -> list[Predictor]:
    """`predict`, and `predict` into memory that is there already."""
    model = network(problem)
    out = np.empty((len(x), problem.workload.widths[-1]), np.float32)
    return [
        Predictor("fastmlp", lambda: model.predict(x)),
        Predictor("fastmlp, out=", lambda: model.predict(x, out=out)),
    ]
