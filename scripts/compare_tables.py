"""How good the estimators of tables are without tuning, on data sets that packages ship, and how long training takes.

The contenders: scikit-learn's MLP behind a StandardScaler (categories one-hot, missing values imputed), its histogram gradient
boosting, and fastmlp's TabularClassifier and TabularRegressor, all with their defaults. The error is the share of wrong
labels, or the root mean squared error over the standard deviation of the targets, in cross-validation with other folds for
each seed.

Data: scikit-learn; diamonds, penguins (plotnine); fair, randhie (statsmodels); the others ISLP. Only the files of these
packages are read: ``pip install --no-deps plotnine statsmodels ISLP``.
"""

from __future__ import annotations

import argparse
import importlib.util
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import sklearn.datasets
from sklearn.compose import make_column_transformer
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from sklearn.impute import SimpleImputer
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


def tabular(classes: bool, _: pd.DataFrame, seed: int) -> Any:
    """Those of fastmlp."""
    return (TabularClassifier if classes else TabularRegressor)(random_state=seed)


CONTENDERS = {"MLP": network, "HistGradientBoosting": trees, "Tabular": tabular}


def compared(name: str, seeds: int, splits: int, most: int) -> dict[str, tuple[list[float], float]]:
    """For each contender the mean error of each seed, and the seconds of a training."""
    classes, load = SETS[name]
    X, y = load()
    if len(X) > most:
        chosen = np.random.default_rng(0).permutation(len(X))[:most]
        X, y = X.iloc[chosen].reset_index(drop=True), y[chosen]
    result: dict[str, tuple[list[float], float]] = {}
    for contender, make in CONTENDERS.items():
        errors, seconds = [], 0.0
        for seed in range(seeds):
            folds = (StratifiedKFold if classes else KFold)(splits, shuffle=True, random_state=seed)
            own = []
            for train, test in folds.split(X, y):
                estimator, began = make(classes, X, seed), time.perf_counter()
                estimator.fit(X.iloc[train], y[train])
                seconds += time.perf_counter() - began
                predicted = estimator.predict(X.iloc[test])
                wrong = predicted != y[test] if classes else (predicted - y[test]) ** 2 / y.var()
                own.append(float(np.mean(wrong)) if classes else float(np.sqrt(np.mean(wrong))))
            errors.append(float(np.mean(own)))
        result[contender] = errors, seconds / (seeds * splits)
    return result


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=10)
    parser.add_argument("--splits", type=int, default=5)
    parser.add_argument("--rows", type=int, default=1500, help="of larger sets so many are drawn")
    parser.add_argument("--sets", nargs="+", choices=SETS, default=list(SETS), metavar="SET")
    options = parser.parse_args(arguments)
    print(f"| data | {' | '.join(CONTENDERS)} | seconds: {' | '.join(CONTENDERS)} |")
    print(f"| --- |{' ---: |' * 2 * len(CONTENDERS)}")
    warnings.simplefilter("ignore")
    for name in options.sets:
        result = compared(name, options.seeds, options.splits, options.rows)
        best = min(np.mean(errors) for errors, _ in result.values())
        cells = []
        for errors, _ in result.values():
            mean, spread = float(np.mean(errors)), float(np.std(errors))
            text = f"{mean:.4f} ± {spread:.4f}"
            cells.append(f"**{text}**" if mean == best else text)
        times = [f"{seconds:.2f}" for _, seconds in result.values()]
        print(f"| {name} | {' | '.join(cells)} | {' | '.join(times)} |", flush=True)


if __name__ == "__main__":
    main()
