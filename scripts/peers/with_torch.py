"""PyTorch: the training loop of its tutorials; prediction in inference mode, and compiled by TorchScript.

Of the ways to train, ``SGD(foreach=True)`` and ``fused=True`` are within noise of the default here (the former 10 % faster on
the disc networks alone), and ``torch.compile`` is no faster.
"""

from __future__ import annotations

import warnings
from functools import partial
from itertools import pairwise

import numpy as np
import torch

from .predictor import Predictor
from .workloads import EPS, Problem

__all__ = ["Torch", "predictors"]


def network(problem: Problem) -> torch.nn.Sequential:
    """The problem's network, with its parameters."""
    workload = problem.workload
    layers: list[torch.nn.Module] = []
    for wide, narrow in pairwise(workload.widths[:-1]):
        layers.append(torch.nn.Linear(wide, narrow, bias=not workload.batch_norm))
        if workload.batch_norm:
            layers.append(torch.nn.BatchNorm1d(narrow, eps=EPS))
        layers.append({"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh}[workload.activation]())
        if workload.dropout:
            layers.append(torch.nn.Dropout(workload.dropout))
    model = torch.nn.Sequential(*layers, torch.nn.Linear(*workload.widths[-2:]))
    with torch.no_grad():
        for parameter, array in zip(model.parameters(), problem.flat_parameters):
            parameter.copy_(torch.from_numpy(array))
    return model


class Torch:
    """One way to run it: on `threads` threads."""

    def __init__(self, problem: Problem, threads: int = 1):
        self.problem, self.threads = problem, threads
        self.name = f"torch, {threads} thread{'s' if threads > 1 else ''}"
        self.model = network(problem)
        self.criterion = torch.nn.MSELoss() if problem.workload.loss == "mse" else torch.nn.CrossEntropyLoss()
        self.x, self.y = torch.from_numpy(problem.x), torch.from_numpy(problem.y)
        self._begin = {name: value.clone() for name, value in self.model.state_dict().items()}
        self.reset()

    def reset(self) -> None:
        self.model.load_state_dict(self._begin)
        kind = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam}[self.problem.workload.optimizer]
        self.optimizer = kind(self.model.parameters(), lr=self.problem.workload.learning_rate)

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


def predictors(problem: Problem, x: np.ndarray, threads: list[int]) -> list[Predictor]:
    """In inference mode; for one row, where the interpreter is all that takes time, by TorchScript too."""
    model, rows = network(problem).eval(), torch.from_numpy(x)
    ways = [("torch", model)]
    if len(x) == 1:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecated, in favour of torch.compile, which is slower from Python
            script = torch.jit.optimize_for_inference(torch.jit.trace(model, rows))
        ways.append(("TorchScript", script))

    def predictor(name, model, threads):
        @torch.inference_mode()
        def predict():
            return model(rows)

        return Predictor(name, predict, partial(torch.set_num_threads, threads))

    return [predictor(name, model, count) for name, model in ways for count in threads]
