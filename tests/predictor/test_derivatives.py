"""Jacobians and their products, in Python and in compiled code: against fm.jacobian, the way back, and central differences."""

from __future__ import annotations

import copy

import numpy as np
import pytest
from helpers import JIT, assert_same_bits, eps, make_net, normal, small
from predictor.nets import every_module, inputs_for, jacobians, products

import fastmlp as fm


def by_differences(p, x, h=1e-6):
    columns = []
    for i in range(p.inputs):
        step = np.zeros(p.inputs)
        step[i] = h
        columns.append((p.predict(x + step) - p.predict(x - step)) / (2 * h))
    return np.stack(columns, 2)


def all_of(p, x, rng):
    """Jacobians, the vectors, and their products, by compiled code."""
    n = len(x)
    out, jac = np.empty((n, p.outputs), p.dtype), np.empty((n, p.outputs, p.inputs), p.dtype)
    jacobians(p, x, out, jac)
    dy, v = normal(rng, out.shape, p.dtype), normal(rng, x.shape, p.dtype)
    dx, dout = np.empty_like(x), np.empty_like(out)
    products(p, x, dy, dx, v, dout)
    return out, jac, dy, dx, v, dout


def test_every_module(dtype):
    """The Jacobian is fm.jacobian's to the bit; in float64, of central differences; products are those with it."""
    rng = np.random.default_rng(0)
    models = list(every_module(dtype))
    for model in models if JIT else models[::7]:
        model.eval()
        p, x = fm.compiled(model), inputs_for(model, 5, dtype)
        out, jac, dy, dx, v, dout = all_of(p, x, rng)
        assert_same_bits(out, p.predict(x))
        assert_same_bits(jac, fm.jacobian(model, x))
        if dtype == np.float64 and not isinstance(next(model.children(), None), fm.Embedding):
            np.testing.assert_allclose(jac, by_differences(p, x), rtol=1e-6, atol=1e-7, err_msg=repr(model))
        size = np.abs(jac).max() + 1
        np.testing.assert_allclose(dx, np.einsum("noi,no->ni", jac, dy), atol=200 * eps(dtype) * size)
        np.testing.assert_allclose(dout, np.einsum("noi,ni->no", jac, v), atol=200 * eps(dtype) * size)


def test_vjp_is_the_way_back(dtype):
    """What ``model.backward`` gives in training mode, for networks that compute the same there; to the bit."""
    for widths in small([[2, 25, 25, 2], [70, 30, 90], [3, 300, 1], [1, 1]], [[2, 5, 2]]):
        for activation in ("relu", "tanh"):
            model = make_net(widths, activation, dtype=dtype)
            p, twin = fm.compiled(model), copy.deepcopy(model)
            for rows in small((1, 2, 49, 130), (1, 3)):
                x = normal(np.random.default_rng(rows), (rows, widths[0]), dtype)
                dy = normal(np.random.default_rng(1), (rows, widths[-1]), dtype)
                dx = np.empty_like(x)
                twin(x)
                expected = twin.backward(dy)
                assert p.vjp(x, dy, dx) is dx
                np.testing.assert_allclose(dx, expected, rtol=1e-12 if dtype == np.float64 else 1e-5)
                assert_same_bits(dx, expected)


def test_more_ways_than_rows_fit_on_the_stack(dtype):
    """As many ways back, or forward, as outputs or inputs: in blocks."""
    for widths in small([[80, 33, 90], [90, 33, 80], [300, 500, 120]], [[20, 5, 30]]):
        model = make_net(widths, dtype=dtype)
        p, x = fm.compiled(model), normal(np.random.default_rng(0), (3, widths[0]), dtype)
        out, jac = np.empty((3, widths[-1]), dtype), np.empty((3, widths[-1], widths[0]), dtype)
        assert p.jacobian(x, out, jac) is jac
        assert_same_bits(out, model.predict(x))
        assert_same_bits(jac, fm.jacobian(model, x))
        one, v, dout = np.empty((widths[-1], widths[0]), dtype), x[2].copy(), np.empty(widths[-1], dtype)
        p.jacobian(x[1], out[1], one)
        assert_same_bits(one, jac[1])
        assert p.jvp(x[1], v, dout) is dout
        np.testing.assert_allclose(dout, jac[1] @ v, rtol=1e-3 if dtype == np.float32 else 1e-10, atol=100 * eps(dtype))


def test_scipy_minimizes_a_network():
    """Value and gradient by one call, against SciPy with a plain-Python twin."""
    optimize = pytest.importorskip("scipy.optimize")
    model = make_net([4, 20, 1], dtype=np.float64)
    p = fm.compiled(model)
    out, jac = np.empty(1), np.empty((1, 4))

    def bowl(x):
        p.jacobian(x, out, jac)
        return out[0] + x @ x, jac[0] + 2 * x

    def twin(x):
        hidden = np.tanh(model[0].weight.data @ x + model[0].bias.data)
        value = model[2].weight.data @ hidden + model[2].bias.data
        slope = (model[2].weight.data * (1 - hidden**2)) @ model[0].weight.data
        return value[0] + x @ x, slope[0] + 2 * x

    ours, theirs = (optimize.minimize(f, np.ones(4), jac=True, tol=1e-10) for f in (bowl, twin))
    np.testing.assert_allclose(ours.x, theirs.x, atol=1e-7)
    np.testing.assert_allclose(ours.fun, theirs.fun, rtol=1e-12)


def test_no_rows_at_all(dtype):
    p = fm.compiled(make_net([3, 5, 2], dtype=dtype))
    x, out, jac = np.empty((0, 3), dtype), np.empty((0, 2), dtype), np.empty((0, 2, 3), dtype)
    p.jacobian(x, out, jac)
    p.vjp(x, out, x.copy())
    p.jvp(x, x.copy(), out)
