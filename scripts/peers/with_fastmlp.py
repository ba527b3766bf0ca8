"""fastmlp: whole epochs in `fit`, and single steps of its modules."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

import fastmlp as fm

from .workloads import LEARNING_RATE, Problem

__all__ = ["FastmlpEager", "FastmlpFit"]


class _Fastmlp:
    def __init__(self, problem: Problem):
        self.problem = problem
        workload = problem.workload
        activation = {"relu": fm.ReLU, "tanh": fm.Tanh}[workload.activation]
        layers: list[fm.Module] = []
        for wide, narrow in pairwise(workload.widths):
            layers += [fm.Linear(wide, narrow), activation()]
        self.model = fm.Sequential(*layers[:-1])
        self.criterion = fm.MSELoss() if workload.loss == "mse" else fm.CrossEntropyLoss()
        self.optimizer = fm.SGD(self.model.parameters(), lr=LEARNING_RATE)

    def reset(self) -> None:
        parameters = [array for pair in self.problem.parameters for array in pair]
        self.model.load_state_dict(dict(zip(self.model.state_dict(), parameters)))

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
