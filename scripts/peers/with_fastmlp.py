"""fastmlp: whole epochs in `fit`, single steps of its modules, and `predict`."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import fastmlp as fm

from .predictor import Predictor
from .workloads import LEARNING_RATE, Problem

__all__ = ["FastmlpEager", "FastmlpFit", "predictors"]


def network(problem: Problem) -> fm.Sequential:
    """The problem's network, with its parameters."""
    activation = {"relu": fm.ReLU, "tanh": fm.Tanh}[problem.workload.activation]
    layers: list[fm.Module] = []
    for wide, narrow in pairwise(problem.workload.widths):
        layers += [fm.Linear(wide, narrow), activation()]
    model = fm.Sequential(*layers[:-1])
    load(model, problem)
    return model


def load(model: fm.Sequential, problem: Problem) -> None:
    """Give a network the problem's parameters."""
    model.load_state_dict(dict(zip(model.state_dict(), problem.flat_parameters)))


class _Fastmlp:
    def __init__(self, problem: Problem):
        self.problem = problem
        self.model = network(problem)
        self.criterion = fm.MSELoss() if problem.workload.loss == "mse" else fm.CrossEntropyLoss()
        self.optimizer = fm.SGD(self.model.parameters(), lr=LEARNING_RATE)

    def reset(self) -> None:
        load(self.model, self.problem)

    def weights(self) -> list[np.ndarray]:
        return list(self.model.state_dict().values())


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
