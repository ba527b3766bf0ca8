"""The networks that are timed, built once in a process, and compiled before anything is timed."""

from __future__ import annotations

import inspect
from functools import cache
from itertools import pairwise

import numpy as np

import fastmlp as fm

from .workloads import WORKLOADS

__all__ = ["build", "data", "predictor", "stepper", "trainer"]


@cache
def build(widths: tuple[int, ...], activation: str = "ReLU") -> fm.Sequential:
    """A network with the same parameters every time."""
    layers: list[fm.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [fm.Linear(wide, narrow, rng=0), getattr(fm, activation)()]
    model = fm.Sequential(*layers[:-1])
    model.reset_parameters(rng=0)
    return model


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows of a workload, with labels or one-hot targets."""
    workload, rng = WORKLOADS[name], np.random.default_rng(0)
    x = rng.standard_normal((workload.rows, workload.widths[0]), dtype=np.float32)
    labels = rng.integers(0, workload.widths[-1], workload.rows)
    return x, labels if workload.loss == "CrossEntropyLoss" else np.eye(workload.widths[-1], dtype=np.float32)[labels]


@cache
def trainer(name: str, threads: int):
    """A function that trains a workload for some epochs on its first rows; compiled and run once."""
    workload, (x, y) = WORKLOADS[name], data(name)
    model, criterion = build(workload.widths, workload.activation), getattr(fm, workload.loss)()
    # So small a rate that whatever is trained for whatever time, the numbers, and so their cost, stay what they are.
    optimizer = fm.SGD(model.parameters(), lr=1e-9)
    options = {"batch_size": workload.batch, "shuffle": False, "threads": threads, "progress": False}

    def train(epochs: int, rows: int) -> None:
        fm.fit(model, criterion, optimizer, x[:rows], y[:rows], epochs=epochs, **options)

    train(1, workload.rows)
    return train


@cache
def stepper(name: str):
    """A function that takes one step of a workload in eager mode; run once."""
    workload = WORKLOADS[name]
    x, y = (array[: workload.batch] for array in data(name))
    model, criterion = build(workload.widths, workload.activation), getattr(fm, workload.loss)()
    optimizer = fm.SGD(model.parameters(), lr=1e-9)

    def step() -> None:
        criterion(model(x), y)
        optimizer.zero_grad()
        model.backward(criterion.backward())
        optimizer.step()

    step()
    return step


@cache
def predictor(widths: tuple[int, ...], rows: int, threads: int):
    """A function that predicts some rows; run once."""
    model = build(widths)
    x = np.random.default_rng(1).standard_normal((rows, widths[0]), dtype=np.float32)
    options = {"threads": threads} if "threads" in inspect.signature(model.predict).parameters else {}
    if threads > 1 and not options:
        raise NotImplementedError("predict runs on one thread at this commit")

    def predict() -> None:
        model.predict(x, **options)

    predict()
    return predict
