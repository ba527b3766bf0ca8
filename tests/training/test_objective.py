from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE_BOUND, assert_same_bits, assert_within, eps, make_data, make_net
from scipy.optimize import minimize

import fastmlp as fm


def joined(arrays):
    return np.concatenate([np.ravel(array) for array in arrays]).astype(np.float64)


def test_objective_is_the_loss_and_the_gradient_by_hand(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    for weights in (None, np.linspace(0, 2, 11)):
        model, criterion = make_net([3, 17, 4], dtype=dtype), fm.CrossEntropyLoss()
        f = fm.objective(model, criterion, X, y, sample_weight=weights)
        loss = criterion(model(X), y, weights)
        model.backward(criterion.backward())
        gradient = joined(parameter.grad for parameter in model.parameters())
        for parameter in model.parameters():
            parameter.grad = np.full(parameter.shape, 3)
        assert_same_bits(f.x0, joined(parameter.data for parameter in model.parameters()))
        first, second = f(f.x0), f(f.x0)
        assert first[0] == second[0] == loss
        assert type(first[0]) is float
        assert_same_bits(first[1], gradient)
        assert_same_bits(second[1], gradient)
        assert first[1] is not second[1]
        assert all((parameter.grad == 3).all() for parameter in model.parameters()), "gradients are left alone"


def test_gradient_matches_finite_difference(rng):
    X, y = make_data(9, 3, 2, "mse", dtype=np.float64)
    f = fm.objective(make_net([3, 5, 2], dtype=np.float64), fm.MSELoss(), X, y)
    theta = f.x0
    _, gradient = f(theta)
    h = np.finfo(np.float64).eps ** (1 / 3)
    for i in rng.integers(theta.size, size=8):
        step = h * (np.arange(theta.size) == i)
        assert_within((f(theta + step)[0] - f(theta - step)[0]) / (2 * h), gradient[i], DIFFERENCE_BOUND)


def test_evaluation_leaves_the_model_as_it_is():
    """Parameters, mode, running statistics, and what random draws depend on: so it is a function."""
    X, y = make_data(20, 3, 4)
    parts = fm.Linear(3, 9, rng=0), fm.BatchNorm1d(9), fm.ReLU(), fm.Dropout(0.5), fm.Linear(9, 4, rng=1)
    model = fm.Sequential(*parts)
    model[1].eval()
    before = model.state_dict()
    f = fm.objective(model, fm.CrossEntropyLoss(), X, y)
    theta = f.x0 + 1
    first, second = f(theta), f(theta)
    assert first[0] == second[0]
    assert_same_bits(first[1], second[1])
    for name, array in model.state_dict().items():
        assert_same_bits(array, before[name])
    assert [module.training for module in model] == [True, False, True, True, True]
    with pytest.raises(ValueError, match="theta must have the shape"):
        f(theta[1:])
    assert_same_bits(f.x0, theta - 1)


def test_frozen_parameters_are_left_out(dtype):
    X, y = make_data(9, 3, 4, dtype=dtype)
    model = make_net([3, 5, 4], dtype=dtype)
    model[0].weight.requires_grad = False
    f = fm.objective(model, fm.CrossEntropyLoss(), X, y)
    assert f.x0.size == f(f.x0)[1].size == 5 + 5 * 4 + 4
    frozen = model[0].weight.data.copy()
    f.put(np.arange(29))
    assert_same_bits(model[0].weight.data, frozen)
    assert_same_bits(f.x0, np.arange(29.0))
    assert repr(f) == "Objective(29 parameters, CrossEntropyLoss, 9 rows)"
    for parameter in model.parameters():
        parameter.requires_grad = False
    with pytest.raises(ValueError, match="there is nothing to train"):
        fm.objective(model, fm.CrossEntropyLoss(), X, y)


def test_scipy_finds_the_least_squares():
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    y = X @ [[1.0], [2.0], [-1.0]] + 0.5 + 0.1 * rng.standard_normal((30, 1))
    model = make_net([3, 1], dtype=np.float64)
    f = fm.objective(model, fm.MSELoss(), X, y)
    result = minimize(f, f.x0, jac=True, method="BFGS", options={"gtol": 1e-9})
    expected = np.linalg.lstsq(np.column_stack([X, np.ones(30)]), y, rcond=None)[0].ravel()
    assert_within(result.x, expected, 1e-8)


class InPython(fm.Criterion):
    def forward(self, out, y):
        self.difference = out - y
        return float((self.difference**2).mean())

    def backward(self):
        return 2 * self.difference / self.difference.size


def test_what_is_written_in_python_works_too(dtype):
    X, y = make_data(9, 3, 2, "mse", dtype=dtype)
    model = make_net([3, 5, 2], dtype=dtype)
    built_in, written = (fm.objective(model, criterion, X, y) for criterion in (fm.MSELoss(), InPython()))
    (loss, gradient), (other, same) = built_in(built_in.x0), written(written.x0)
    assert_within(loss, other, 40 * eps(dtype))
    assert_within(gradient, same, 40 * eps(dtype))


def test_objective_rejects_what_fit_does():
    X, y = make_data(9, 3, 4)
    model = make_net([3, 4])
    for arguments, error, message in (
        ((model[0], fm.CrossEntropyLoss(), X, y), TypeError, "model must be a Sequential of fastmlp.*wrap it"),
        ((model, fm.CrossEntropyLoss, X, y), TypeError, "criterion must be a Criterion of fastmlp; got the class"),
        ((model, fm.CrossEntropyLoss(), X[:, 1:], y), ValueError, r"expects \(N, 3\)"),
        ((model, fm.CrossEntropyLoss(), X, y + 4), ValueError, "labels"),
        ((model, fm.CrossEntropyLoss(), X * np.nan, y), ValueError, "X must be finite"),
    ):
        for function in (fm.objective, fm.fit_lbfgs):
            with pytest.raises(error, match=message):
                function(*arguments)
