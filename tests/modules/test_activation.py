from __future__ import annotations

import numpy as np
import pytest
from helpers import (
    ACTIVATIONS,
    COLUMNS,
    DIFFERENCE_BOUND,
    assert_same_bits,
    assert_within,
    central_differences,
    eps,
    normal,
)

import fastmlp as fm


def reference(name, x):
    x = x.astype(np.float64)
    value = {"relu": np.maximum(x, 0), "tanh": np.tanh(x), "sigmoid": 1 / (1 + np.exp(-x)), "identity": x}[name]
    slope = {"relu": x > 0, "tanh": 1 - np.tanh(x) ** 2, "sigmoid": value * (1 - value), "identity": np.ones_like(x)}[name]
    return value, slope


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("width", COLUMNS)
def test_activation_matches_reference(name, width, dtype, rng):
    module = ACTIVATIONS[name]()
    x, dy = 2 * normal(rng, (7, width), dtype), normal(rng, (7, width), dtype)
    y, dx = module(x), module.backward(dy)
    value, slope = reference(name, x)
    assert_within(y, value, 4 * eps(dtype) * np.abs(value))
    assert_within(dx, dy * slope, 8 * eps(dtype) * np.abs(dy))
    assert y.dtype == dx.dtype == dtype


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_matches_finite_difference(name, rng):
    module = ACTIVATIONS[name]()
    x, dy = normal(rng, (3, 5), np.float64), normal(rng, (3, 5), np.float64)
    module(x)
    dx = module.backward(dy)
    assert_within(dx, central_differences(lambda: float((module(x) * dy).sum()), x), DIFFERENCE_BOUND)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_matches_torch(name, dtype, rng):
    torch = pytest.importorskip("torch", reason="compares with PyTorch")
    module = ACTIVATIONS[name]()
    twin = {"relu": torch.nn.ReLU, "tanh": torch.nn.Tanh, "sigmoid": torch.nn.Sigmoid, "identity": torch.nn.Identity}[name]()
    x, dy = 3 * normal(rng, (7, 17), dtype), normal(rng, (7, 17), dtype)
    x[0, 0] = 0  # the rectifier's derivative there is 0
    given = torch.from_numpy(x).requires_grad_()
    out = twin(given)
    out.backward(torch.from_numpy(dy))
    assert_within(module(x), out.detach().numpy(), 6 * eps(dtype))
    assert_within(module.backward(dy), given.grad.numpy(), 10 * eps(dtype) * np.abs(dy))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_leaves_its_input_alone(name, dtype, rng):
    module = ACTIVATIONS[name]()
    x, dy = normal(rng, (3, 16), dtype), normal(rng, (3, 16), dtype)
    before = x.copy(), dy.copy()
    y = module(x)
    kept = y.copy()
    dx = module.backward(dy)
    assert_same_bits(x, before[0])
    assert_same_bits(dy, before[1])
    assert_same_bits(y, kept)
    for result in (y, dx):
        assert not np.shares_memory(result, x)
        assert not np.shares_memory(result, dy)
    y[:] = 7
    assert_same_bits(module.backward(dy), dx)


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_computes_in_the_dtype_of_its_input(name):
    module = ACTIVATIONS[name]()
    for given, expected in ((np.float64, "f8"), (">f8", "f8"), (np.float32, "f4"), (np.float16, "f4"), (int, "f4")):
        assert module(np.ones((1, 2), given)).dtype == np.dtype(expected)
    assert module([[1, 2]]).dtype == np.float32


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_rejects_backward_before_forward(name):
    with pytest.raises(RuntimeError, match="backward was called before forward: call the module on an input first"):
        ACTIVATIONS[name]().backward(np.ones((1, 2)))


@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation_rejects_one_axis(name):
    with pytest.raises(ValueError, match=r"expects \(N, width\); got \(3,\): add a batch axis, x\[None, :\]"):
        ACTIVATIONS[name]()(np.ones(3))


def test_relu_keeps_nan():
    np.testing.assert_array_equal(fm.ReLU()([[np.nan, -np.inf, np.inf]]), np.array([[np.nan, 0, np.inf]], np.float32))


def test_saturated_activations_are_exact(dtype):
    x = np.array([[-1e4, 1e4]], dtype)
    assert fm.Tanh()(x).tolist() == [[-1, 1]]
    assert fm.Sigmoid()(x).tolist() == [[0, 1]]
