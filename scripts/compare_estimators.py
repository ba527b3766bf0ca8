"""scikit-learn's MLP and fastmlp's with the same arguments: that they give the same network, and how long each takes.

Every number is the median of rounds in turns, in one process, both warm. "float32" is fastmlp's with ``dtype="float32"``, which
scikit-learn has where X is of that dtype only.
"""

from __future__ import annotations

import argparse
import time
import warnings
from typing import NamedTuple

import numpy as np
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


CLASSES, NUMBERS = "MLPClassifier", "MLPRegressor"

WORKLOADS = [
    Workload("wine", CLASSES, lambda: load_wine(return_X_y=True), (100,), 200, {}),
    Workload("cancer", CLASSES, lambda: load_breast_cancer(return_X_y=True), (100,), 100, {}),
    Workload("digits", CLASSES, lambda: load_digits(return_X_y=True), (100,), 30, {}),
    Workload("digits", CLASSES, lambda: load_digits(return_X_y=True), (50, 50), 30, {"solver": "sgd"}),
    Workload("digits, batches of 32", CLASSES, lambda: load_digits(return_X_y=True), (100,), 10, {"batch_size": 32}),
    Workload("digits, early stopping", CLASSES, lambda: load_digits(return_X_y=True), (100,), 30, {"early_stopping": True}),
    Workload("diabetes", NUMBERS, lambda: load_diabetes(return_X_y=True), (100,), 100, {}),
    Workload("10,000 x 20", CLASSES, _made(10_000, 20), (100,), 10, {}),
    Workload("10,000 x 20", CLASSES, _made(10_000, 20), (25, 25), 10, {"activation": "tanh"}),
    Workload("10,000 x 100", NUMBERS, lambda: make_regression(10_000, 100, random_state=0), (100,), 5, {}),
    Workload("2,000 x 784", CLASSES, _made(2_000, 784, 10), (512, 512), 2, {}),
]


def measured(work: Workload, rounds: int) -> list[float]:
    """Seconds of scikit-learn's, of fastmlp's, and of that in float32."""
    X, y = work.load()  # type: ignore[operator]
    X = StandardScaler().fit_transform(X)
    y = y if work.kind == CLASSES else (y - y.mean()) / y.std()
    options = {"hidden_layer_sizes": work.hidden, "max_iter": work.epochs, "tol": 0.0, "n_iter_no_change": 1000}
    options |= {"random_state": 0, **work.options}
    contenders = [
        getattr(theirs, work.kind)(**options),
        getattr(ours, work.kind)(**options),
        getattr(ours, work.kind)(**options, dtype="float32"),
    ]
    seconds: list[list[float]] = [[], [], []]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number in range(rounds + 1):
            for times, contender in zip(seconds, contenders):
                began = time.perf_counter()
                contender.fit(X, y)
                if number:
                    times.append(time.perf_counter() - began)
    their, our = contenders[:2]
    assert their.n_iter_ == our.n_iter_
    for mine, other in zip(our.coefs_, their.coefs_):
        np.testing.assert_allclose(mine, other, rtol=1e-4, atol=1e-6)
    return [float(np.median(times)) for times in seconds]


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--only", default="", help="workloads whose name has this in it")
    options = parser.parse_args(arguments)
    print("| data | hidden layers | epochs | scikit-learn, s | fastmlp, s | times as fast | in float32 |")
    print("| --- | --- | ---: | ---: | ---: | ---: | ---: |")
    for work in WORKLOADS:
        if options.only in work.name:
            their, our, single = measured(work, options.rounds)
            named = ", ".join(f"{value}" if name != "early_stopping" else "" for name, value in work.options.items())
            hidden = f"{work.hidden}{f' {named}' * bool(named.strip(', '))}"
            numbers = f"{their:.3f} | {our:.4f} | {their / our:.1f} | {their / single:.1f}"
            print(f"| {work.name} | {hidden} | {work.epochs} | {numbers} |", flush=True)


if __name__ == "__main__":
    main()
