"""Train fastmlp and scikit-learn's multilayer perceptrons on real data; compare scores and seconds in a Markdown table.

Digits, breast cancer and wine are classified, diabetes is a regression: data that scikit-learn brings. Both libraries get the
same rows, scaled alike, in float32, and the same network (one hidden layer of 100, ReLU), objective (L2 included), optimizer
(Adam), learning rate, batches and epochs, without early stopping; each draws first values and orders of rows in its own way.
Both are as they come: scikit-learn takes the threads that its BLAS takes, fastmlp those that `fit` takes. They take turns,
seed by seed, each seed with a split of its own into rows to train on and rows to judge by. One fit of each goes before, and is
not timed: fastmlp compiles in it.
"""

from __future__ import annotations

import argparse
import importlib.util
import statistics
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

import fastmlp as fm

sys.path.insert(0, str(Path(__file__).parent))

from peers.machine import cores, processor_name
from peers.tables import markdown

__all__ = ["Comparison", "main"]

HIDDEN, RATE, ALPHA, BATCH = 100, 0.001, 1e-4, 32

#: Of the rows of each data set.
TESTED = 0.25

#: The times that count as a tenth, and the standard errors that count as noise.
TENTH, NOISE = 10.0, 2.0

DATA = {"digits": "load_digits", "breast-cancer": "load_breast_cancer", "wine": "load_wine", "diabetes": "load_diabetes"}


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"compare_training: {message}\n")


@dataclass
class Split:
    """Rows to train on and rows to judge by, scaled by the mean and the deviation of the former."""

    X: np.ndarray
    y: np.ndarray
    X_test: np.ndarray
    y_test: np.ndarray

    @property
    def classes(self) -> int:
        """How many there are; 0 of a regression."""
        return int(self.y.max()) + 1 if self.y.dtype.kind == "i" else 0

    @classmethod
    def of(cls, name: str, seed: int) -> Split:
        """The split of a data set that belongs to a seed, each class in its share."""
        from sklearn import datasets
        from sklearn.model_selection import train_test_split
        from sklearn.preprocessing import StandardScaler

        X, y = getattr(datasets, DATA[name])(return_X_y=True)
        labels = y.dtype.kind == "i"
        X, X_test, y, y_test = train_test_split(X, y, test_size=TESTED, random_state=seed, stratify=y if labels else None)
        scaler = StandardScaler().fit(X)
        X, X_test = (scaler.transform(part).astype(np.float32) for part in (X, X_test))
        if not labels:
            mean, deviation = y.mean(), y.std()
            y, y_test = (((part - mean) / deviation).astype(np.float32) for part in (y, y_test))
        return cls(X, y, X_test, y_test)


def with_fastmlp(split: Split) -> tuple[fm.Sequential, fm.Criterion, fm.Optimizer]:
    """A network, its loss and its optimizer."""
    outputs = split.classes if split.classes > 2 else 1  # as scikit-learn: one logit for two classes
    model = fm.Sequential(fm.Linear(split.X.shape[1], HIDDEN), fm.ReLU(), fm.Linear(HIDDEN, outputs))
    regression = split.classes == 0
    criterion = fm.MSELoss() if regression else fm.BCEWithLogitsLoss() if outputs == 1 else fm.CrossEntropyLoss()
    # There alpha / rows of the batch, of weights alone, and half of the squared error.
    named = dict(model.named_parameters())
    weights = [parameter for name, parameter in named.items() if name.endswith("weight")]
    biases = [parameter for name, parameter in named.items() if name.endswith("bias")]
    decay = ALPHA / BATCH * (2 if regression else 1)
    groups = [{"params": weights, "weight_decay": decay}, {"params": biases, "weight_decay": 0.0}]
    return model, criterion, fm.Adam(groups, lr=RATE)


def by_fastmlp(split: Split, seed: int, epochs: int) -> tuple[float, float]:
    """The score on the test rows, and the seconds of `fit`."""
    model, criterion, optimizer = with_fastmlp(split)
    model.reset_parameters(rng=seed)
    began = time.perf_counter()
    fm.fit(model, criterion, optimizer, split.X, split.y, epochs=epochs, batch_size=BATCH, rng=seed, progress=False)
    seconds = time.perf_counter() - began
    metric = "accuracy" if split.classes else "r2"
    return fm.evaluate(model, criterion, split.X_test, split.y_test, metrics=metric)[metric], seconds


def with_scikit_learn(split: Split, epochs: int, **options: Any) -> Any:
    """A classifier or a regressor, with all options that are not those of its library."""
    from sklearn.neural_network import MLPClassifier, MLPRegressor

    return (MLPClassifier if split.classes else MLPRegressor)(
        hidden_layer_sizes=(HIDDEN,),
        alpha=ALPHA,
        batch_size=BATCH,
        learning_rate_init=RATE,
        max_iter=epochs,
        n_iter_no_change=epochs + 1,  # it would stop early
        **options,
    )


def by_scikit_learn(split: Split, seed: int, epochs: int) -> tuple[float, float]:
    """The score on the test rows, and the seconds of `fit`."""
    model = with_scikit_learn(split, epochs, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # it would rather converge
        began = time.perf_counter()
        model.fit(split.X, split.y)
        seconds = time.perf_counter() - began
    return model.score(split.X_test, split.y_test), seconds


@dataclass
class Comparison:
    """Scores and seconds of both on one data set, a pair for each seed: fastmlp's, scikit-learn's."""

    name: str
    scores: list[tuple[float, float]]
    seconds: list[tuple[float, float]]

    @property
    def difference(self) -> tuple[float, float]:
        """How much more fastmlp scores, the mean over the seeds, and its standard error."""
        gains = [ours - theirs for ours, theirs in self.scores]
        return statistics.fmean(gains), statistics.stdev(gains) / len(gains) ** 0.5 if len(gains) > 1 else 0.0

    @property
    def not_worse(self) -> bool:
        """Whether the scores are not worse within noise."""
        mean, error = self.difference
        return mean >= -NOISE * error

    @property
    def times(self) -> float:
        """How many times fastmlp's time scikit-learn takes: the ratio of the medians."""
        ours, theirs = (statistics.median(column) for column in zip(*self.seconds))
        return theirs / ours

    @property
    def row(self) -> list[str]:
        """The line of the table."""
        (ours, theirs), (fast, slow) = zip(*self.scores), zip(*self.seconds)
        mean, error = self.difference
        return [
            self.name,
            spread(ours),
            spread(theirs),
            f"{mean:+.4f} ± {error:.4f}",
            "yes" if self.not_worse else "NO",
            f"{statistics.median(fast):.3f}",
            f"{statistics.median(slow):.3f}",
            f"{self.times:.1f}",
            "yes" if self.times >= TENTH else "NO",
        ]


HEADER = ["data", "fastmlp", "scikit-learn", "difference", "not worse", "fastmlp, s", "scikit-learn, s", "ratio", "a tenth"]


def spread(values: Sequence[float]) -> str:
    """Mean and standard deviation."""
    return f"{statistics.fmean(values):.4f} ± {statistics.stdev(values) if len(values) > 1 else 0.0:.4f}"


def compare(name: str, seeds: int, epochs: int) -> Comparison:
    """Have both train on a data set, in turns."""
    both = by_fastmlp, by_scikit_learn
    for train in both:
        train(Split.of(name, 0), 0, 2)
    found = Comparison(name, [], [])
    for seed in range(seeds):
        print(f"compare_training: {name}, seed {seed} ...", file=sys.stderr, flush=True)
        split = Split.of(name, seed)
        results: dict[Any, tuple[float, float]] = {}
        for train in both[:: 1 if seed % 2 else -1]:
            time.sleep(0.1)  # the idle threads of a BLAS spin for a while after their work
            results[train] = train(split, seed, epochs)
        scores, seconds = zip(*(results[train] for train in both))
        found.scores.append(scores)
        found.seconds.append(seconds)
    return found


def whole_number(text: str) -> int:
    """A whole number from 1 to 10,000, for argparse."""
    if not text.isdecimal() or not 1 <= int(text) <= 10_000:
        raise argparse.ArgumentTypeError(f"must be a whole number from 1 to 10000; got {text!r}")
    return int(text)


def main(arguments: Sequence[str] | None = None) -> None:
    """Train, and print the table."""
    read = _Parser(
        prog="compare_training", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False
    )
    how: Callable[..., Any] = read.add_argument
    how("--data", nargs="+", choices=DATA, metavar="NAME", help=f"{', '.join(DATA)} (default: all)")
    how("--seeds", type=whole_number, default=10, metavar="N", help="trainings of each, the seeds 0 to N - 1 (default: 10)")
    how("--epochs", type=whole_number, default=100, metavar="N", help="passes over the rows (default: 100)")
    options = read.parse_args(arguments)
    if importlib.util.find_spec("sklearn") is None:
        read.error('scikit-learn is not installed; pip install "fastmlp[peers]" brings it')
    import sklearn

    found = []
    for name in dict.fromkeys(options.data or DATA):
        found.append(compare(name, options.seeds, options.epochs))
    print(f"{processor_name()}, {cores()} cores; fastmlp {fm.__version__}, scikit-learn {sklearn.__version__}.")
    print(f"{options.seeds} seeds, {options.epochs} epochs of batches of {BATCH}. Accuracy (diabetes: R²): mean ± standard")
    print("deviation; the difference ± its standard error, of which 2 are noise. Seconds of a fit: medians.\n")
    print(markdown([HEADER, *(comparison.row for comparison in found)]))


if __name__ == "__main__":
    main()
