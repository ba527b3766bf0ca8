"""How good the estimators of tables are without tuning, on data sets that packages ship, and how long training takes.

The contenders: scikit-learn's MLP behind a StandardScaler (categories one-hot, missing values imputed), its histogram gradient
boosting, and fastmlp's TabularClassifier and TabularRegressor, all with their defaults and on one thread. The error is the
share of wrong labels, or the root mean squared error over the standard deviation of the targets, in cross-validation with
other folds for each seed. Of probabilities there are the log loss and the calibration error: how far the largest probability of
a row is from the share of rows where it is right, in 15 bins. Seconds are those of the processor, which other processes hardly
change.

With `--store` each seed of a set is written down as soon as it is done, and what is there already is not done again.
`--contenders` takes other defaults of Tabular into the table, to be compared on seeds that no table of results has:
``--first-seed 100``.

Data: scikit-learn; diamonds, penguins (plotnine); fair, randhie (statsmodels); the others ISLP. Only the files of these
packages are read: ``pip install --no-deps plotnine statsmodels ISLP``.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets
import threadpoolctl
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
from sklearn.metrics import log_loss
from sklearn.model_selection import KFold, StratifiedKFold
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

from fastmlp.sklearn import TabularClassifier, TabularRegressor


def read(package: str, path: str) -> pd.DataFrame:
    """A table from the files of a package, which is not imported."""
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise SystemExit(f"{package} is not installed: pip install --no-deps plotnine statsmodels ISLP")
    return pd.read_csv(Path(found.submodule_search_locations[0]) / path)


def shipped(name: str) -> Callable[[], tuple[pd.DataFrame, np.ndarray]]:
    """One of scikit-learn's."""

    def load() -> tuple[pd.DataFrame, np.ndarray]:
        X, y = getattr(sklearn.datasets, f"load_{name}")(return_X_y=True, as_frame=True)
        return X, y.to_numpy()

    return load


def from_file(
    package: str, path: str, target: str, without: tuple[str, ...] = (), change: Callable[[Any], Any] | None = None
) -> Callable[[], tuple[pd.DataFrame, np.ndarray]]:
    """A column of a file as the target, the others as the table."""

    def load() -> tuple[pd.DataFrame, np.ndarray]:
        frame = read(package, path).dropna(subset=[target]).reset_index(drop=True)
        y = frame[target] if change is None else change(frame[target])
        gone = [name for name in frame if name in without or str(name).startswith("Unnamed")]
        return frame.drop(columns=[target, *gone]), y.to_numpy()

    return load


def bikes() -> tuple[pd.DataFrame, np.ndarray]:
    """Bikes lent in an hour; the parts of the sum left out."""
    frame = read("ISLP", "data/Bikeshare.csv")
    frame["hr"] = frame["hr"].astype(int)
    return frame.drop(columns=["bikers", "casual", "registered"]), np.log1p(frame["bikers"]).to_numpy()


#: Whether the target is a class, and what loads it.
SETS: dict[str, tuple[bool, Callable[[], tuple[pd.DataFrame, np.ndarray]]]] = {
    "breast cancer": (True, shipped("breast_cancer")),
    "digits": (True, shipped("digits")),
    "wine": (True, shipped("wine")),
    "fair": (True, from_file("statsmodels", "datasets/fair/fair.csv", "affairs", change=lambda y: y > 0)),
    "OJ": (True, from_file("ISLP", "data/OJ.csv", "Purchase")),
    "college": (True, from_file("ISLP", "data/College.csv", "Private")),
    "penguins": (True, from_file("plotnine", "data/penguins.csv", "sex")),
    "diabetes": (False, shipped("diabetes")),
    "diamonds": (False, from_file("plotnine", "data/diamonds.csv", "price", change=np.log)),
    "randhie": (False, from_file("statsmodels", "datasets/randhie/randhie.csv", "mdvis", change=np.log1p)),
    "bikes": (False, bikes),
    "wage": (False, from_file("ISLP", "data/Wage.csv", "logwage", ("wage",))),
    "Boston": (False, from_file("ISLP", "data/Boston.csv", "medv")),
    "carseats": (False, from_file("ISLP", "data/Carseats.csv", "Sales")),
    "credit": (False, from_file("ISLP", "data/Credit.csv", "Balance", ("ID",))),
}


def text_columns(X: pd.DataFrame) -> list[str]:
    """The columns that are not numbers."""
    return [name for name in X if not pd.api.types.is_numeric_dtype(X[name])]


def network(classes: bool, X: pd.DataFrame, seed: int) -> Any:
    """scikit-learn's MLP as one should use it."""
    one_hot = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    rest = make_pipeline(SimpleImputer(), StandardScaler())
    kind = MLPClassifier if classes else MLPRegressor
    return make_pipeline(make_column_transformer((one_hot, text_columns(X)), remainder=rest), kind(random_state=seed))


def trees(classes: bool, X: pd.DataFrame, seed: int) -> Any:
    """Histogram gradient boosting, told which columns are categories."""
    names = text_columns(X)
    ordinal = OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=np.nan)
    kind = HistGradientBoostingClassifier if classes else HistGradientBoostingRegressor
    last = kind(random_state=seed, categorical_features=list(range(len(names))))
    return make_pipeline(make_column_transformer((ordinal, names), remainder="passthrough"), last)


def tabular(*, rate: float = 1.0, **options: Any) -> Callable[..., Any]:
    """Those of fastmlp, with so many times their rate."""

    def make(classes: bool, _: pd.DataFrame, seed: int) -> Any:
        known = {name: value for name, value in options.items() if classes or name != "label_smoothing"}
        estimator = (TabularClassifier if classes else TabularRegressor)(random_state=seed, n_threads=1, **known)
        return estimator.set_params(learning_rate_init=rate * estimator.learning_rate_init)

    return make


CONTENDERS = {
    "MLP": network,
    "HistGradientBoosting": trees,
    "Tabular": tabular(),
    "Tabular, 1 member": tabular(n_members=1),
    "Tabular, 4 members": tabular(n_members=4),
    "Tabular, 64 wide": tabular(hidden_layer_sizes=(64, 64, 64)),
    "Tabular, 256 wide": tabular(hidden_layer_sizes=(256, 256, 256)),
    "Tabular, 32 epochs": tabular(epochs=32),
    "Tabular, 128 epochs": tabular(epochs=128),
    "Tabular, batches of 64": tabular(batch_size=64),
    "Tabular, batches of 256": tabular(batch_size=256),
    "Tabular, half the rate": tabular(rate=0.5),
    "Tabular, twice the rate": tabular(rate=2.0),
    "Tabular, no smoothing": tabular(label_smoothing=0.0),
    "RealMLP's": tabular(hidden_layer_sizes=(256, 256, 256), epochs=256, batch_size=256),
}
FIRST = ["MLP", "HistGradientBoosting", "Tabular"]


def calibration_error(probabilities: np.ndarray, right: np.ndarray) -> float:
    """The mean distance of confidence and accuracy, of rows in 15 bins by their confidence."""
    sure = probabilities.max(axis=1)
    places = np.minimum((sure * 15).astype(int), 14)
    return float(abs(np.bincount(places, sure - right, 15)).sum() / len(sure))


def fold(
    estimator: Any, X: pd.DataFrame, y: np.ndarray, train: np.ndarray, test: np.ndarray, classes: bool
) -> dict[str, float]:
    """The numbers of a training: error, seconds, and of classes log loss and calibration error."""
    began = time.process_time()
    estimator.fit(X.iloc[train], y[train])
    numbers = {"seconds": time.process_time() - began}
    predicted = estimator.predict(X.iloc[test])
    if not classes:
        return numbers | {"error": float(np.sqrt(np.mean((predicted - y[test]) ** 2 / y.var())))}
    probabilities = estimator.predict_proba(X.iloc[test])
    return numbers | {
        "error": float(np.mean(predicted != y[test])),
        "log loss": float(log_loss(y[test], probabilities, labels=estimator.classes_)),
        "calibration error": calibration_error(probabilities, predicted == y[test]),
    }


def cross_validated(name: str, contender: str, seed: int, splits: int, most: int) -> dict[str, float]:
    """The means over the folds that a seed gives."""
    classes, load = SETS[name]
    X, y = load()
    if len(X) > most:
        chosen = np.random.default_rng(0).permutation(len(X))[:most]
        X, y = X.iloc[chosen].reset_index(drop=True), y[chosen]
    folds = (StratifiedKFold if classes else KFold)(splits, shuffle=True, random_state=seed)
    make = CONTENDERS[contender]
    found = [fold(make(classes, X, seed), X, y, train, test, classes) for train, test in folds.split(X, y)]
    return {number: float(np.mean([numbers[number] for numbers in found])) for number in found[0]}


class Store:
    """What has been measured: a line of JSON for each seed of a set and a contender; in a file, if there is one."""

    def __init__(self, path: Path | None):
        self.path, self.found = path, dict[tuple, dict[str, float]]()
        if path is not None and path.exists():
            for line in path.read_text().splitlines():
                *key, numbers = json.loads(line)
                self.found[tuple(key)] = numbers

    def measured(self, *key: Any) -> dict[str, float]:
        """The numbers of (set, contender, seed, splits, rows)."""
        if key not in self.found:
            self.found[key] = cross_validated(*key)
            if self.path is not None:
                with self.path.open("a") as file:
                    file.write(json.dumps([*key, self.found[key]]) + "\n")
        return self.found[key]


def row(name: str, results: list[list[dict[str, float]]], number: str, digits: int) -> str:
    """A line of a table: of each contender the mean of its seeds, and their deviation; what is best stands out."""
    values = [[numbers[number] for numbers in seeds] for seeds in results]
    best = min(round(float(np.mean(of_seeds)), digits) for of_seeds in values)
    cells = []
    for of_seeds in values:
        mean = round(float(np.mean(of_seeds)), digits)
        text = f"{mean:.{digits}f} ± {np.std(of_seeds):.{digits}f}"
        cells.append(f"**{text}**" if mean == best else text)
    return f"| {name} | {' | '.join(cells)} |"


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--first-seed", type=int, default=0)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1000, help="of larger sets so many are drawn")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    parser.add_argument("--contenders", nargs="+", choices=CONTENDERS, default=FIRST, metavar="CONTENDER")
    parser.add_argument("--store", type=Path, metavar="FILE", help="to go on from, and to add to")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    store, names = Store(options.store), options.contenders
    results: dict[str, list[list[dict[str, float]]]] = {}
    seeds = range(options.first_seed, options.first_seed + options.seeds)
    print(f"| data | {' | '.join(names)} | seconds: {' | '.join(names)} |")
    print(f"| --- |{' ---: |' * 2 * len(names)}")
    with threadpoolctl.threadpool_limits(1):
        for name in options.sets:
            results[name] = [
                [store.measured(name, contender, seed, options.splits, options.rows) for seed in seeds] for contender in names
            ]
            times = [f"{np.mean([numbers['seconds'] for numbers in of_seeds]):.2f}" for of_seeds in results[name]]
            print(f"{row(name, results[name], 'error', 4)} {' | '.join(times)} |", flush=True)
    for number in ("log loss", "calibration error"):
        print(f"\n| {number} | {' | '.join(names)} |\n| --- |{' ---: |' * len(names)}")
        for name in options.sets:
            if SETS[name][0]:
                print(row(name, results[name], number, 3))


if __name__ == "__main__":
    main()
