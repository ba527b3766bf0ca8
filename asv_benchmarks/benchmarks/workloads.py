"""The networks that are timed, built once in a process and compiled before anything is timed.

asv_runner runs ``setup`` again before every sample and, where it takes time, samples single calls. So ``setup`` is a look-up
in a dictionary, and a body is a loop of known length, long enough (a millisecond or more) to be timed by itself.
"""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numpy as np

import fastmlp as fm

#: Name: widths, activation, rows of a batch, rows of the data set.
WORKLOADS = {
    "disc-b100": ((2, 25, 25, 25, 2), "ReLU", 100, 1000),
    "disc-b10": ((2, 25, 25, 25, 2), "ReLU", 10, 1000),
    "disc-b1": ((2, 25, 25, 25, 2), "ReLU", 1, 1000),
    "disc-tanh-b100": ((2, 25, 25, 25, 2), "Tanh", 100, 1000),
    "tabular": ((64, 256, 256, 10), "ReLU", 128, 1280),
    "mnist-512": ((784, 512, 512, 10), "ReLU", 128, 640),
}


def build(name: str) -> fm.Sequential:
    """The network of a workload, with the same parameters every time."""
    widths, activation, _, _ = WORKLOADS[name]
    layers: list[fm.Module] = []
    for wide, narrow in pairwise(widths):
        layers += [fm.Linear(wide, narrow, rng=0), getattr(fm, activation)()]
    model = fm.Sequential(*layers[:-1])
    model.reset_parameters(rng=0)
    return model


def data(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels of a workload."""
    widths, _, _, rows = WORKLOADS[name]
    rng = np.random.default_rng(0)
    return rng.random((rows, widths[0]), dtype=np.float32), rng.integers(0, widths[-1], rows)


@cache
def trainer(name: str, threads: int):
    """A function that trains a workload for some epochs, on fresh parameters each time; compiled and run once."""
    x, y = data(name)
    model, criterion = build(name), fm.CrossEntropyLoss()
    start = model.state_dict()
    batch_size = WORKLOADS[name][2]

    def train(epochs: int) -> None:
        model.load_state_dict(start)
        optimizer = fm.SGD(model.parameters(), lr=0.01)
        fm.fit(model, criterion, optimizer, x, y, epochs=epochs, batch_size=batch_size, rng=0, threads=threads, progress=False)

    train(1)
    return train


@cache
def predictor(name: str, rows: int):
    """A network that has predicted once, and the rows to predict."""
    model = build(name)
    x = np.random.default_rng(1).random((rows, WORKLOADS[name][0][0]), dtype=np.float32)
    model.predict(x)
    return model, x


@cache
def stepper(name: str):
    """A function that takes one step in eager mode, module by module."""
    x, y = (array[: WORKLOADS[name][2]] for array in data(name))
    model, criterion = build(name), fm.CrossEntropyLoss()
    optimizer = fm.SGD(model.parameters(), lr=0.0)

    def step() -> None:
        criterion(model(x), y)
        optimizer.zero_grad()
        model.backward(criterion.backward())
        optimizer.step()

    step()
    return step
