"""The same `random_state` gives the network that scikit-learn gives, to rounding: its own estimators are the oracle."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from sklearn import neural_network as theirs
from sklearn.datasets import make_multilabel_classification

from fastmlp import sklearn as ours

pytestmark = pytest.mark.once

ACTIVATIONS = ("relu", "tanh", "logistic", "identity")


def drawn(seed, rows=61):
    """A random problem and random arguments."""
    rng = np.random.default_rng(seed)
    kind = ("binary", "classes", "labels", "numbers", "columns", "counts")[seed % 6]
    X = rng.normal(size=(rows, 7))
    score = X[:, 0] * X[:, 1] + X[:, 2]
    y = {
        "binary": lambda: np.where(score > 0, "yes", "no"),
        "classes": lambda: np.digitize(score, [-0.7, 0.4]),
        "labels": lambda: make_multilabel_classification(rows, 7, n_classes=3, random_state=seed)[1],
        "numbers": lambda: 3 * score,
        "columns": lambda: np.stack([score, X[:, 3] - 2, -score], axis=1),
        "counts": lambda: rng.poisson(np.exp(0.5 * X[:, 0])),
    }[kind]()
    solver = rng.choice(["sgd", "adam", "lbfgs"], p=[0.45, 0.45, 0.1]).item()
    options = {
        "solver": solver,
        "hidden_layer_sizes": [(5,), (9, 4), (17,), (4, 3, 5)][rng.integers(4)],
        "activation": rng.choice(ACTIVATIONS).item(),
        "alpha": rng.choice([0.0, 1e-4, 0.3]).item(),
        "batch_size": ["auto", 10, 7, 61][rng.integers(4)],
        "learning_rate": rng.choice(["constant", "invscaling", "adaptive"]).item(),
        "learning_rate_init": rng.choice([0.001, 0.01, 0.03]).item(),
        "power_t": rng.choice([0.25, 0.5]).item(),
        "momentum": rng.choice([0.0, 0.5, 0.9]).item(),
        "nesterovs_momentum": bool(rng.integers(2)),
        "shuffle": bool(rng.random() < 0.8),
        "random_state": int(rng.integers(1000)),
        "tol": rng.choice([1e-4, 0.05]).item(),
        "n_iter_no_change": int(rng.integers(1, 4)),
        "early_stopping": bool(rng.random() < 0.3) and solver != "lbfgs",
        "beta_1": rng.choice([0.0, 0.9]).item(),
        "beta_2": rng.choice([0.9, 0.999]).item(),
        "epsilon": rng.choice([1e-8, 1e-3]).item(),
        "max_iter": 5,
    }
    weights = rng.integers(0, 3, rows) + rng.random() if rng.random() < 0.3 else None
    name = "MLPRegressor" if kind in ("numbers", "columns", "counts") else "MLPClassifier"
    if kind == "counts":
        options["loss"] = "poisson"
    return kind, name, options, X, y, weights


def both(name, options, X, y, weights, epochs=None):
    """The same estimator of both libraries, fitted."""
    pair = []
    for library in (theirs, ours):
        estimator = getattr(library, name)(**options)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            if epochs is None:
                estimator.fit(X, y, sample_weight=weights)
            for _ in range(epochs or 0):
                found = np.unique(y) if y.ndim == 1 else np.arange(y.shape[1])
                classes = {"classes": found} if name == "MLPClassifier" else {}
                estimator.partial_fit(X, y, sample_weight=weights, **classes)
        pair.append(estimator)
    return pair


def check_same(their, our, case, rtol=1e-6):
    for attribute in ("n_iter_", "n_layers_", "n_outputs_", "t_", "out_activation_"):
        assert getattr(our, attribute) == getattr(their, attribute), (attribute, case)
    for name in ("coefs_", "intercepts_"):
        for mine, other in zip(getattr(our, name), getattr(their, name)):
            assert mine.dtype == other.dtype, case
            np.testing.assert_allclose(mine, other, rtol=rtol, atol=rtol * 1e-2, err_msg=str(case))
    for name in ("loss_", "best_loss_", "loss_curve_", "validation_scores_", "best_validation_score_"):
        mine, other = getattr(our, name, None), getattr(their, name, None)
        assert (mine is None) == (other is None), (name, case)
        if mine is not None:
            np.testing.assert_allclose(mine, other, rtol=rtol, atol=1e-9, err_msg=f"{name} {case}")


@pytest.mark.parametrize("seed", range(60))
def test_fit_gives_scikit_learns_network(seed):
    kind, name, options, X, y, weights = drawn(seed)
    case = seed, kind, options, weights is not None
    their, our = both(name, options, X, y, weights)
    # A line search amplifies roundings.
    check_same(their, our, case, rtol=1e-4 if options["solver"] == "lbfgs" else 1e-6)
    predicted = their.predict(X)
    if predicted.dtype.kind == "f":
        np.testing.assert_allclose(our.predict(X), predicted, rtol=1e-4, err_msg=str(case))
    else:
        np.testing.assert_array_equal(our.predict(X), predicted, err_msg=str(case))
        np.testing.assert_allclose(our.predict_proba(X), their.predict_proba(X), rtol=1e-4, err_msg=str(case))


@pytest.mark.parametrize("seed", range(12))
def test_partial_fit_gives_scikit_learns_network(seed):
    kind, name, options, X, y, weights = drawn(seed + 100)
    options |= {"solver": ("sgd", "adam")[seed % 2], "early_stopping": False}
    their, our = both(name, options, X, y, weights, epochs=4)
    check_same(their, our, (seed, kind, options))
    assert our._optimizer.learning_rate == pytest.approx(their._optimizer.learning_rate)


def test_alpha_may_change_between_calls_of_partial_fit():
    for first, second in ((0.0, 0.3), (0.3, 0.0)):
        _, name, options, X, y, _ = drawn(3)
        pair = []
        for library in (theirs, ours):
            estimator = getattr(library, name)(**options | {"solver": "adam", "early_stopping": False, "alpha": first})
            estimator.partial_fit(X, y).set_params(alpha=second)
            pair.append(estimator.partial_fit(X, y).partial_fit(X, y))
        check_same(*pair, (first, second))


def test_warm_start_goes_on_as_scikit_learns_does():
    for solver in ("sgd", "adam"):
        _, name, options, X, y, weights = drawn(1)
        options |= {"solver": solver, "learning_rate": "invscaling", "warm_start": True, "early_stopping": False}
        pair = both(name, options, X, y, weights)
        for estimator in pair:
            estimator.set_params(max_iter=3)
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                estimator.fit(X[:50], y[:50])
        check_same(*pair, solver)


def test_warm_start_with_early_stopping_brings_the_best_network_back():
    # scikit-learn trains on in the arrays that it keeps as the best ones, so where a second fit finds no better network, the
    # last one stays there.
    _, name, options, X, y, _ = drawn(1)
    options |= {"solver": "adam", "warm_start": True, "early_stopping": True, "random_state": 0, "learning_rate_init": 0.01}
    our = getattr(ours, name)(**options | {"max_iter": 30})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        our.fit(X, y)
        best, coefs = our.best_validation_score_, our.coefs_[0].copy()
        our.set_params(learning_rate_init=10.0, max_iter=3).fit(X, y)
    assert max(our.validation_scores_[-3:]) < best
    np.testing.assert_array_equal(our.coefs_[0], coefs)


def test_whole_trainings_end_where_scikit_learns_do():
    # On raw features: losses of single rows reach the bound of their logarithm.
    from sklearn.datasets import load_breast_cancer, load_diabetes, load_wine

    cases = [
        ("MLPClassifier", load_breast_cancer, {"max_iter": 60}),
        ("MLPClassifier", load_wine, {"early_stopping": True, "n_iter_no_change": 4}),
        ("MLPClassifier", load_wine, {"solver": "sgd", "learning_rate": "adaptive", "tol": 0.05, "n_iter_no_change": 2}),
        ("MLPRegressor", load_diabetes, {"max_iter": 40, "early_stopping": True}),
    ]
    for name, load, options in cases:
        X, y = load(return_X_y=True)
        X = X if name == "MLPClassifier" else X * 100
        their, our = both(name, {"hidden_layer_sizes": 20, "random_state": 0, **options}, X, y, None)
        assert our.n_iter_ == their.n_iter_, options
        check_same(their, our, options, rtol=1e-5)


def test_float32_is_scikit_learns_to_its_rounding():
    for name, solver in (("MLPClassifier", "adam"), ("MLPRegressor", "sgd"), ("MLPRegressor", "lbfgs")):
        _, _, options, X, y, _ = drawn(1 if name == "MLPClassifier" else 3)
        options |= {"solver": solver, "early_stopping": False, "random_state": 3, "learning_rate_init": 0.01}
        their, our = both(name, options, X.astype(np.float32), y, None)
        for mine, other in zip(our.coefs_, their.coefs_):
            assert mine.dtype == other.dtype, solver
            np.testing.assert_allclose(mine, other, rtol=1e-3, atol=1e-4)
        assert our.predict(X.astype(np.float32)).dtype == their.predict(X.astype(np.float32)).dtype


def test_sparse_rows_give_the_same_network(monkeypatch):
    from scipy import sparse

    from fastmlp.sklearn import rows

    monkeypatch.setattr(rows, "DENSE_BYTES", 8 * 7 * 25)  # windows of two batches, and a part of one
    for seed in (0, 1, 3):
        _, name, options, X, y, weights = drawn(seed)
        X = np.where(np.abs(X) > 0.7, X, 0)
        options |= {"solver": "adam", "batch_size": 10}
        for kind in (sparse.csr_array, sparse.csc_matrix):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                dense = getattr(ours, name)(**options).fit(X, y, sample_weight=weights)
                given = getattr(ours, name)(**options).fit(kind(X), y, sample_weight=weights)
            for first, second in zip(dense.coefs_, given.coefs_):
                np.testing.assert_array_equal(first, second)
            np.testing.assert_array_equal(dense.predict(X), given.predict(kind(X)))


def test_threads_do_not_change_a_bit():
    _, name, options, X, y, weights = drawn(1, rows=300)
    options |= {"solver": "adam", "batch_size": 100, "hidden_layer_sizes": (33, 20)}
    networks = []
    for threads in (1, 2):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            networks.append(getattr(ours, name)(**options, n_threads=threads).fit(X, y, sample_weight=weights))
    for first, second in zip(networks[0].coefs_, networks[1].coefs_):
        np.testing.assert_array_equal(first, second)
