"""The Jacobian, against central differences and against ways back one by one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import JIT, assert_same_bits, assert_within, eps, make_net, normal

import fastmlp as fm
from fastmlp import registry

SHAPES = [[1, 1], [2, 5, 3], [3, 17, 2]]
if JIT:
    SHAPES += [[7, 16, 33, 10], [65, 48, 49, 4], [2, 130, 20]]


def by_ways_back(model, X):
    """A way back for each output, in training mode."""
    out = model(X)
    columns = []
    for output in range(out.shape[1]):
        dy = np.zeros_like(out)
        dy[:, output] = 1
        model(X)
        columns.append(model.backward(dy))
    return np.stack(columns, 1)


def by_differences(model, X, h=1e-6):
    columns = []
    for i in range(X.shape[1]):
        step = np.zeros(X.shape[1])
        step[i] = h
        columns.append((model.predict(X + step) - model.predict(X - step)) / (2 * h))
    return np.stack(columns, 2)


def test_jacobian_is_the_ways_back(dtype):
    """To the bit where it goes back; forward where there are no more inputs than outputs."""
    rng = np.random.default_rng(0)
    for widths in SHAPES:
        forward = widths[0] <= widths[-1]
        for activation in ("tanh", "relu", "sigmoid"):
            model = make_net(widths, activation, dtype=dtype)
            for rows in (1, 5, 16, 67, 130):
                X = normal(rng, (rows, widths[0]), dtype)
                expected = by_ways_back(model, X)
                model.zero_grad()
                if forward:
                    size = np.prod([np.abs(layer.weight.data).sum(1).max() for layer in model if isinstance(layer, fm.Linear)])
                    assert_within(fm.jacobian(model, X, threads=1), expected, 4 * sum(widths) * eps(dtype) * size)
                    expected = fm.jacobian(model, X, threads=1)
                for threads in (None, 1, 2, 3):
                    ours = fm.jacobian(model, X, threads=threads)
                    assert ours.shape == (rows, widths[-1], widths[0])
                    assert_same_bits(ours, expected)
                assert not model.storage.grad.any()


def modules():
    """All there are, between two linear layers, first and last."""
    entries = (registry.activations() | registry.layers()).values()
    for kind, case in [(entry, case) for entry in entries for case in entry.cases]:
        first, middle, last = (registry.made(kind, case, width) for width in (3, 5, 2))
        yield fm.Sequential(fm.Linear(3, 5, rng=0), middle, fm.Linear(5, 4, rng=1), dtype=np.float64)
        yield fm.Sequential(first, fm.Linear(3, 2, bias=False, rng=2), last, dtype=np.float64)


def test_jacobian_matches_central_differences():
    rng = np.random.default_rng(1)
    X = rng.standard_normal((9, 3))
    for model in modules():
        model.eval()
        np.testing.assert_allclose(fm.jacobian(model, X), by_differences(model, X), rtol=1e-6, atol=1e-7, err_msg=repr(model))


def test_jacobian_sees_what_has_changed(dtype):
    model = make_net([3, 5, 2], dtype=dtype)
    X = normal(np.random.default_rng(2), (4, 3), dtype)
    before = fm.jacobian(model, X)
    model[0].weight.data *= 2
    assert not np.array_equal(fm.jacobian(model, X), before)
    assert_same_bits(fm.jacobian(model, X), by_ways_back(model, X))
    model[0].weight.requires_grad = False
    assert_same_bits(fm.jacobian(model, X.tolist()), by_ways_back(model, X))


def test_jacobian_of_single_modules_and_of_nothing():
    X = np.arange(6.0).reshape(3, 2)
    layer = fm.Linear(2, 3, dtype=np.float64)
    assert_same_bits(fm.jacobian(layer, X), np.repeat(layer.weight.data[None], 3, axis=0))
    assert_same_bits(fm.jacobian(fm.ReLU(), X)[1], np.eye(2))
    for nothing in (fm.Identity(), fm.Sequential(fm.Identity(), dtype=np.float64)):
        assert_same_bits(fm.jacobian(nothing, X), np.repeat(np.eye(2)[None], 3, axis=0))


def test_jacobian_is_that_of_evaluation_mode(dtype):
    X = normal(np.random.default_rng(4), (5, 3), dtype)
    model = fm.Sequential(fm.Dropout(), fm.Linear(3, 4), fm.BatchNorm1d(4), fm.AlphaDropout(), fm.Linear(4, 2), dtype=dtype)
    assert model.training
    model(X)  # moves the running statistics
    expected = fm.jacobian(model, X)
    assert model.training
    assert_same_bits(fm.jacobian(model.eval(), X), expected)
    for nothing in (fm.Dropout(), fm.Sequential(fm.Dropout(), dtype=dtype)):
        assert_same_bits(fm.jacobian(nothing, X), np.repeat(np.eye(3, dtype=dtype)[None], 5, axis=0))


def test_way_back_of_training_is_left_alone(dtype):
    """The trace is that of the last forward in training mode."""
    model = make_net([2, 5, 3], dtype=dtype)
    X = normal(np.random.default_rng(3), (4, 2), dtype)
    dy = np.ones_like(model(X))
    expected = model.backward(dy)
    model(X)
    fm.jacobian(model, 2 * X)
    assert_same_bits(model.backward(dy), expected)
    assert model.training


class Double(fm.Module):
    """In Python."""

    def forward(self, x):
        return 2 * x

    def backward(self, dy):
        return 2 * dy


def test_what_has_no_jacobian_is_refused():
    model = make_net([2, 5, 3])
    for call, error, message in (
        (lambda: fm.jacobian(model, np.zeros((4, 3))), ValueError, r"jacobian expects .*\(N, 2\)"),
        (lambda: fm.jacobian(model, np.zeros((0, 2))), ValueError, "jacobian"),
        (lambda: fm.jacobian(model, [["a", "b"]]), TypeError, "X"),
        (lambda: fm.jacobian(model, np.zeros((4, 2)), threads=0), ValueError, "threads must be at least 1; got 0"),
        (lambda: fm.jacobian(None, np.zeros((4, 2))), TypeError, "model must be a Module of fastmlp; got None"),
        (lambda: fm.jacobian(Double(), np.zeros((4, 2))), TypeError, "written in Python: Double"),
        (lambda: fm.jacobian(fm.Sequential(fm.Linear(2, 2), Double()), np.zeros((4, 2))), TypeError, "in Python: Double"),
    ):
        with pytest.raises(error, match=message):
            call()
