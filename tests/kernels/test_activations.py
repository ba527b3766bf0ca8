from __future__ import annotations

import numpy as np
import pytest
from helpers import DIFFERENCE_BOUND, assert_same_bits, assert_within, central_differences, eps, jit, normal

from fastmlp.kernels import activations
from fastmlp.kernels.activations import RELU, SIGMOID, TANH

NAMES = {"relu": RELU, "tanh": TANH, "sigmoid": SIGMOID}
LENGTHS = [1, 2, 7, 15, 16, 17, 31, 33, 129]


def reference_forward(name, x):
    x = x.astype(np.float64)
    return {"relu": np.maximum(x, 0), "tanh": np.tanh(x), "sigmoid": 1 / (1 + np.exp(-x))}[name]


def reference_backward(name, dy, y):
    y = y.astype(np.float64)
    return dy * {"relu": y > 0, "tanh": 1 - y * y, "sigmoid": y * (1 - y)}[name]


def make_forward(name):
    function = getattr(activations, f"{name}_forward")
    return jit(lambda y: function(y))  # noqa: PLW0108 (one that Python may call)


def make_backward(name):
    function = getattr(activations, f"{name}_backward")
    return jit(lambda dx, y: function(dx, y))  # noqa: PLW0108


FORWARD = {name: make_forward(name) for name in NAMES}
BACKWARD = {name: make_backward(name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_forward_matches_reference(name, dtype, rng):
    for length in LENGTHS:
        x = 3 * normal(rng, length, dtype)
        y = x.copy()
        FORWARD[name](y)
        expected = reference_forward(name, x)
        assert_within(y, expected, 4 * eps(dtype) * np.abs(expected))


@pytest.mark.parametrize("name", NAMES)
def test_backward_matches_reference(name, dtype, rng):
    for length in LENGTHS:
        y = reference_forward(name, 3 * normal(rng, length, dtype)).astype(dtype)
        dy = normal(rng, length, dtype)
        dx = dy.copy()
        BACKWARD[name](dx, y)
        assert_within(dx, reference_backward(name, dy.astype(np.float64), y), 4 * eps(dtype) * np.abs(dy))


@pytest.mark.parametrize("name", NAMES)
def test_backward_matches_finite_difference(name, rng):
    x, dy = normal(rng, 17, np.float64), normal(rng, 17, np.float64)

    def loss():
        y = x.copy()
        FORWARD[name](y)
        return y @ dy

    y, dx = x.copy(), dy.copy()
    FORWARD[name](y)
    BACKWARD[name](dx, y)
    assert_within(dx, central_differences(loss, x), DIFFERENCE_BOUND)


def test_relu_of_special_values(dtype):
    y = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0, np.finfo(dtype).tiny], dtype)
    FORWARD["relu"](y)
    np.testing.assert_array_equal(y, np.array([np.nan, np.inf, 0, 0, 0, np.finfo(dtype).tiny], dtype))


def test_relu_has_the_derivative_zero_at_zero(dtype):
    dx = np.array([5, 5, 5], dtype)
    BACKWARD["relu"](dx, np.array([0.0, -0.0, 1.0], dtype))
    np.testing.assert_array_equal(dx, [0, 0, 5])


@pytest.mark.parametrize("name", NAMES)
def test_copying_pair_is_the_one_in_place(name, dtype, rng):
    x, dy = normal(rng, (5, 16), dtype), normal(rng, (5, 16), dtype)
    before, upstream = x.copy(), dy.copy()
    y, dx = np.full_like(x, np.nan), np.full_like(x, np.nan)
    activations.activation_forward_copy(NAMES[name], y, x)
    activations.activation_backward_copy(NAMES[name], dx, dy, y)
    in_place, gradient = x.reshape(-1).copy(), dy.reshape(-1).copy()
    FORWARD[name](in_place)
    BACKWARD[name](gradient, in_place)
    assert_same_bits(y.reshape(-1), in_place)
    assert_same_bits(dx.reshape(-1), gradient)
    assert_same_bits(x, before)
    assert_same_bits(dy, upstream)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_forward_keeps_padding_zero(name, dtype):
    y = np.zeros(17, dtype)
    FORWARD[name](y)
    assert not y.any()


@pytest.mark.parametrize("name", NAMES)
def test_backward_keeps_padding_of_deltas_zero(name, dtype):
    y, dx = np.zeros(17, dtype), np.zeros(17, dtype)
    FORWARD[name](y)
    BACKWARD[name](dx, y)
    assert not dx.any()
