from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, flat, make_data, make_net
from scipy.optimize import minimize

import fastmlp as fm


def test_lbfgs_is_scipys(dtype):
    X, y = make_data(20, 3, 4, dtype=dtype)
    model, twin = make_net([3, 7, 4], dtype=dtype), make_net([3, 7, 4], dtype=dtype)
    history = fm.fit_lbfgs(model, fm.CrossEntropyLoss(), X, y, max_iter=9)
    f = fm.objective(twin, fm.CrossEntropyLoss(), X, y)
    options = {"maxiter": 9, "gtol": 1e-5, "ftol": float(np.finfo(dtype).eps)}
    result = minimize(f, f.x0, jac=True, method="L-BFGS-B", options=options)
    f.put(result.x)
    assert_same_bits(flat(model), flat(twin))
    assert len(history.loss) == result.nit == 9
    assert history.loss == sorted(history.loss, reverse=True)
    assert history.loss[-1] == result.fun
    assert min(history.seconds) > 0
    assert not history.interrupted


def test_lbfgs_ends_where_the_gradient_is_small():
    X, y = make_data(30, 3, 1, "mse", dtype=np.float64)
    model = make_net([3, 1], dtype=np.float64)
    history = fm.fit_lbfgs(model, fm.MSELoss(), X, y, tol=1e-9)
    f = fm.objective(model, fm.MSELoss(), X, y)
    assert np.abs(f(f.x0)[1]).max() <= 1e-9
    assert len(history.loss) < 30
    expected = np.linalg.lstsq(np.column_stack([X, np.ones(30)]), y, rcond=None)[0].ravel()
    assert_within(f.x0, expected, 1e-7)


def test_running_statistics_follow():
    X, y = make_data(20, 3, 4)
    model = fm.Sequential(fm.Linear(3, 9, rng=0), fm.BatchNorm1d(9), fm.Linear(9, 4, rng=1))
    history = fm.fit_lbfgs(model, fm.CrossEntropyLoss(), X, y, max_iter=5)
    assert model[1].num_batches_tracked == len(history.loss) == 5
    assert model[1].running_mean.data.any()


class Interrupted(fm.MSELoss):
    calls = 0

    def forward(self, out, y, sample_weight=None):
        type(self).calls += 1
        if self.calls == 9:
            raise KeyboardInterrupt
        return super().forward(out, y)


def test_ctrl_c_leaves_the_last_iteration():
    X, y = make_data(30, 3, 2, "mse", dtype=np.float64)
    model = make_net([3, 9, 2], dtype=np.float64)
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.fit_lbfgs(model, Interrupted(), X, y)
    history = caught.value.history
    assert history.interrupted
    assert len(history.loss) > 1
    assert_within(fm.MSELoss()(model(X), y), history.loss[-1], 1e-15)


def test_lbfgs_says_what_is_wrong(monkeypatch):
    X, y = make_data(9, 3, 2, "mse")
    model = make_net([3, 2])
    for options, error, message in (
        ({"max_iter": 0}, ValueError, "max_iter must be at least 1"),
        ({"tol": -1}, ValueError, "tol must be at least 0"),
        ({"history_size": 0.5}, TypeError, "history_size must be a whole number"),
    ):
        with pytest.raises(error, match=message):
            fm.fit_lbfgs(model, fm.MSELoss(), X, y, **options)
    model[0].bias.data[0] = np.inf
    with pytest.raises(fm.NonFiniteLossError, match="the loss is inf before training"):
        fm.fit_lbfgs(model, fm.MSELoss(), X, y)
    monkeypatch.setitem(sys.modules, "scipy.optimize", None)
    with pytest.raises(ImportError, match=r'fit_lbfgs needs SciPy: pip install "fastmlp\[scipy\]"'):
        fm.fit_lbfgs(model, fm.MSELoss(), X, y)
