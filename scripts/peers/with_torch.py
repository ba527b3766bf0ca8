"""PyTorch, eager: the loop of its tutorials."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch

from .workloads import LEARNING_RATE, Problem

__all__ = ["Torch"]


class Torch:
    """One way to run it: on `threads` threads."""

    def __init__(self, problem: Problem, threads: int = 1):
        self.problem, self.threads = problem, threads
        self.name = f"torch, {threads} thread{'s' if threads > 1 else ''}"
        workload = problem.workload
        activation = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[workload.activation]
        layers = []
        for wide, narrow in pairwise(workload.widths):
            layers += [torch.nn.Linear(wide, narrow), activation()]
        self.model = torch.nn.Sequential(*layers[:-1])
        self.criterion = torch.nn.MSELoss() if workload.loss == "mse" else torch.nn.CrossEntropyLoss()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=LEARNING_RATE)
        self.x, self.y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)

    def reset(self) -> None:
        with torch.no_grad():
            parameters = [array for pair in self.problem.parameters for array in pair]
            for parameter, array in zip(self.model.parameters(), parameters):
                parameter.copy_(torch.from_numpy(array))

    def epochs(self, count: int) -> None:
        torch.set_num_threads(self.threads)
        for _ in range(count):
            for xb, yb in zip(self.x.split(self.problem.workload.batch), self.y.split(self.problem.workload.batch)):
                loss = self.criterion(self.model(xb), yb)
                self.optimizer.zero_grad()
                loss.backward()
                self.optimizer.step()

    def weights(self) -> list[np.ndarray]:
        return [parameter.detach().numpy() for parameter in self.model.parameters()]
