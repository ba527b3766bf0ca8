"""scikit-learn's MLP and fastmlp's with the same arguments: that they give the same network, and how long each takes.

Every number is the median of rounds in turns, in one process, both warm; first in float64, then both with X in float32.

Before each there is a pause, since the threads of a BLAS go on spinning for a while when they have nothing to do. The bound is
what no engine can beat: the multiply-adds of the layers, forward, and back for the weights and all inputs but the first,
at the rate of fused multiply-adds on registers on all cores, which is measured; in brackets, how many times as fast as
scikit-learn that would be, in float64.
"""

from __future__ import annotations

import argparse
import time
import warnings
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from peers.machine import cores, fma_peak, processor_name
from sklearn import neural_network as theirs
from sklearn.datasets import load_breast_cancer, load_diabetes, load_digits, load_wine, make_classification, make_regression
from sklearn.preprocessing import StandardScaler

from fastmlp import sklearn as ours


class Workload(NamedTuple):
    """What is trained on what."""

    name: str
    kind: str
    load: object
    hidden: tuple[int, ...]
    epochs: int
    options: dict


def _made(rows: int, columns: int, classes: int = 2):
    return lambda: make_classification(rows, columns, n_informative=min(columns, 10), n_classes=classes, random_state=0)


#: Seconds.
PAUSE = 0.1

CLASSES, NUMBERS = "MLPClassifier", "MLPRegressor"

WORKLOADS = [
    Workload("wine, 178 x 13", CLASSES, lambda: load_wine(return_X_y=True), (100,), 200, {}),
    Workload("cancer, 569 x 30", CLASSES, lambda: load_breast_cancer(return_X_y=True), (100,), 100, {}),
    Workload("digits, 1,797 x 64", CLASSES, lambda: load_digits(return_X_y=True), (100,), 30, {}),
    Workload("digits", CLASSES, lambda: load_digits(return_X_y=True), (50, 50), 30, {"solver": "sgd"}),
    Workload("digits, batches of 32", CLASSES, lambda: load_digits(return_X_y=True), (100,), 10, {"batch_size": 32}),
    Workload("digits, early stopping", CLASSES, lambda: load_digits(return_X_y=True), (100,), 30, {"early_stopping": True}),
    Workload("diabetes, 442 x 10", NUMBERS, lambda: load_diabetes(return_X_y=True), (100,), 100, {}),
    Workload("10,000 x 20", CLASSES, _made(10_000, 20), (100,), 10, {}),
    Workload("10,000 x 20", CLASSES, _made(10_000, 20), (25, 25), 10, {"activation": "tanh"}),
    Workload("10,000 x 100", NUMBERS, lambda: make_regression(10_000, 100, random_state=0), (100,), 5, {}),
    Workload("2,000 x 784", CLASSES, _made(2_000, 784, 10), (512, 512), 2, {}),
]


def flops_of(widths: list[int]) -> int:
    """Of a row in training: the products forward, the gradients of the weights, and the deltas of all layers but the first."""
    pairs = list(pairwise(widths))
    return sum(6 * a * b for a, b in pairs) - 2 * widths[0] * widths[1]


def measured(work: Workload, rounds: int) -> tuple[list[float], int, float]:
    """Seconds of scikit-learn's and of fastmlp's, in float64 and float32; the epochs, and their flops."""
    X, y = work.load()  # type: ignore[operator]
    X = StandardScaler().fit_transform(X)
    y = y if work.kind == CLASSES else (y - y.mean()) / y.std()
    options = {"hidden_layer_sizes": work.hidden, "max_iter": work.epochs, "random_state": 0, **work.options}
    contenders = [
        (getattr(library, work.kind)(**options), X.astype(dtype)) for dtype in ("f8", "f4") for library in (theirs, ours)
    ]
    seconds: list[list[float]] = [[] for _ in contenders]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(rounds + 1):
            for times, (contender, x) in zip(seconds, contenders):
                time.sleep(PAUSE)
                began = time.perf_counter()
                contender.fit(x, y)
                if number:
                    times.append(time.perf_counter() - began)
    (their, _), (our, _), *_ = contenders
    assert their.n_iter_ == our.n_iter_
    for mine, other in zip(our.coefs_, their.coefs_):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
    flops = our.t_ * flops_of([X.shape[1], *work.hidden, our.n_outputs_])
    return [float(np.median(times)) for times in seconds], our.n_iter_, flops


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", nargs="+", default=[""], help="workloads whose name has one of these in it")
    options = parser.parse_args(arguments)
    peak = fma_peak(cores()) / 2 * 1e9  # of float64
    print(f"{processor_name()}, {cores()} cores, {peak / 1e9:.0f} GFLOP/s of float64 in multiply-adds")
    columns = [
        "data",
        "hidden layers",
        "epochs",
        "scikit-learn, ms",
        "fastmlp, ms",
        "times",
        "float32: scikit-learn",
        "fastmlp",
    ]
    columns += ["times", "bound, ms"]
    print(f"| {' | '.join(columns)} |\n| --- | --- |{' ---: |' * (len(columns) - 2)}")
    for work in WORKLOADS:
        if any(part in work.name for part in options.only):
            (their, our, their32, our32), epochs, flops = measured(work, options.rounds)
            settings = ", ".join(str(value) for value in work.options.values() if value is not True)
            hidden = f"{work.hidden}{', ' * bool(settings)}{settings}"
            numbers = f"{1e3 * their:.0f} | {1e3 * our:.1f} | {their / our:.1f} | {1e3 * their32:.0f} | {1e3 * our32:.1f}"
            least = flops / peak
            bound = f"{1e3 * least:.1f} ({their / least:.1f})"
            print(f"| {work.name} | {hidden} | {epochs} | {numbers} | {their32 / our32:.1f} | {bound} |", flush=True)


if __name__ == "__main__":
    main()
