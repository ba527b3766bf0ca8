"""Epochs of an estimator that are taken several at a time: nothing may tell them from those that come one by one."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

pytest.importorskip("sklearn")

from helpers import jit_only
from sklearn import neural_network as theirs
from sklearn.datasets import load_iris

from fastmlp.sklearn import MLPClassifier, MLPRegressor
from fastmlp.training.compiled import CompiledRun

pytestmark = [pytest.mark.once, pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")]

X, Y = load_iris(return_X_y=True)
X = (X - X.mean(axis=0)) / X.std(axis=0)
FEW = {"hidden_layer_sizes": (9,), "random_state": 0, "learning_rate_init": 0.02, "batch_size": 40}


def counted(monkeypatch):
    """The calls of the engine from now on, and the steps of each."""
    calls, call = [], CompiledRun._call

    def noted(self, steps):
        calls.append(steps)
        return call(self, steps)

    monkeypatch.setattr(CompiledRun, "_call", noted)
    return calls


@jit_only
def test_epochs_at_once_give_the_bits_of_epochs_one_by_one(monkeypatch):
    calls = counted(monkeypatch)
    cases = (
        {"max_iter": 60},
        {"max_iter": 60, "alpha": 0.0, "n_threads": 2},
        {"max_iter": 60, "alpha": 0.5, "dtype": "float32", "dropout": 0.2, "n_threads": 2},
        {"max_iter": 200, "tol": 1e-2, "n_iter_no_change": 3},
        {"max_iter": 25, "solver": "sgd", "shuffle": False},
        {"max_iter": 400, "solver": "sgd", "learning_rate": "adaptive", "tol": 0.01, "n_iter_no_change": 2},
        {"max_iter": 20, "solver": "sgd", "learning_rate": "invscaling"},
    )
    for options in cases:
        calls.clear()
        at_once = MLPClassifier(**FEW | options).fit(X, Y)
        few = len(calls)
        calls.clear()
        one_by_one = MLPClassifier(**FEW | options, callbacks=lambda epoch, history: False).fit(X, Y)
        assert few < len(calls) or options.get("learning_rate") == "invscaling", options
        assert max(calls) == 4  # batches
        assert at_once.n_iter_ == one_by_one.n_iter_
        assert at_once.loss_curve_ == one_by_one.loss_curve_
        assert at_once.best_loss_ == one_by_one.best_loss_
        for mine, other in zip(at_once.coefs_ + at_once.intercepts_, one_by_one.coefs_ + one_by_one.intercepts_):
            np.testing.assert_array_equal(mine, other)


def test_a_random_state_is_left_where_scikit_learn_leaves_it():
    for options in ({"max_iter": 30}, {"max_iter": 300, "tol": 0.01, "n_iter_no_change": 4}):
        after = []
        for library in (theirs.MLPRegressor, MLPRegressor):
            generator = np.random.RandomState(3)
            reg = library(**FEW | options | {"random_state": generator}).fit(X, Y)
            after.append((reg.n_iter_, generator.randint(2**31 - 1)))
        assert after[0] == after[1]


def test_ctrl_c_between_calls_keeps_the_epochs_that_are_done(monkeypatch):
    call, taken = CompiledRun._call, []

    def interrupted(self, steps):
        if sum(taken) >= 20:
            raise KeyboardInterrupt
        taken.append(steps)
        return call(self, steps)

    monkeypatch.setattr(CompiledRun, "_call", interrupted)
    with pytest.warns(UserWarning, match="interrupted by user"):
        clf = MLPClassifier(**FEW, max_iter=100).fit(X, Y)
    assert clf.n_iter_ == sum(taken) // 4 == len(clf.loss_curve_)
    assert clf.loss_ == clf.loss_curve_[-1]
    assert clf.t_ == clf.n_iter_ * len(X)


def test_training_that_becomes_infinite_says_so_and_notes_what_was_before():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        clf = MLPRegressor(**FEW | {"learning_rate_init": 1e3}, solver="sgd", max_iter=50)
        with pytest.raises(ValueError, match="non-finite parameter weights"):
            clf.fit(X, Y * 1e3)
    assert 0 <= len(clf.loss_curve_) == clf.n_iter_ < 50
