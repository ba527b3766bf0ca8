from __future__ import annotations

import itertools
import math
import re

import numpy as np
import pytest
from helpers import (
    COLUMNS,
    DIFFERENCE_BOUND,
    ROWS,
    assert_same_bits,
    assert_within,
    central_differences,
    eps,
    normal,
)

import fastmlp as fm


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_linear_matches_reference(bias, dtype, rng):
    for rows, (width_in, width_out) in itertools.product(ROWS, zip(COLUMNS, COLUMNS[::-1])):
        layer = fm.Linear(width_in, width_out, bias=bias, dtype=dtype, rng=0)
        x, dy = normal(rng, (rows, width_in), dtype), normal(rng, (rows, width_out), dtype)
        y, dx = layer(x), layer.backward(dy)
        weight = layer.weight.data.astype(np.float64)
        b = layer.bias.data.astype(np.float64) if bias else np.zeros(width_out)
        wide_x, wide_dy = x.astype(np.float64), dy.astype(np.float64)
        size = np.abs(wide_x) @ np.abs(weight.T) + np.abs(b)
        assert_within(y, wide_x @ weight.T + b, (width_in + 1) * eps(dtype) * size)
        assert_within(dx, wide_dy @ weight, width_out * eps(dtype) * (np.abs(wide_dy) @ np.abs(weight)))
        bound = rows * eps(dtype) * (np.abs(wide_dy.T) @ np.abs(wide_x))
        assert_within(layer.weight.grad, wide_dy.T @ wide_x, bound)
        if bias:
            assert_within(layer.bias.grad, wide_dy.sum(0), rows * eps(dtype) * np.abs(wide_dy).sum(0))
        for result in (y, dx):
            assert result.dtype == dtype
            assert result.flags.c_contiguous


def test_linear_matches_finite_difference(rng):
    layer = fm.Linear(5, 7, dtype=np.float64, rng=0)
    x, dy = normal(rng, (3, 5), np.float64), normal(rng, (3, 7), np.float64)

    def loss():
        return float((layer(x) * dy).sum())

    layer(x)
    layer.zero_grad()
    dx = layer.backward(dy)
    assert_within(dx, central_differences(loss, x), DIFFERENCE_BOUND)
    assert_within(layer.weight.grad, central_differences(loss, layer.weight.data), DIFFERENCE_BOUND)
    assert_within(layer.bias.grad, central_differences(loss, layer.bias.data), DIFFERENCE_BOUND)


def test_linear_accumulates_gradients(dtype, rng):
    layer = fm.Linear(3, 4, dtype=dtype, rng=0)
    x, dy = np.ones((2, 3), dtype), np.ones((2, 4), dtype)
    layer(x)
    layer.backward(dy)
    once = layer.weight.grad.copy(), layer.bias.grad.copy()
    layer.backward(dy)
    assert_same_bits(layer.weight.grad, 2 * once[0])
    assert_same_bits(layer.bias.grad, 2 * once[1])
    layer.zero_grad()
    assert not layer.weight.grad.any()
    assert not layer.bias.grad.any()
    layer.backward(dy)
    assert_same_bits(layer.weight.grad, once[0])


def test_linear_keeps_a_copy_of_its_input(dtype, rng):
    layer = fm.Linear(3, 4, dtype=dtype, rng=0)
    x = normal(rng, (5, 3), dtype)
    layer(x)
    layer.backward(np.ones((5, 4)))
    expected = layer.weight.grad.copy()
    layer.zero_grad()
    y = layer(x)
    x[:] = 0
    y[:] = 0
    layer.backward(np.ones((5, 4)))
    assert_same_bits(layer.weight.grad, expected)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_linear_reset_parameters_is_pytorchs_default(bias, dtype):
    layer = fm.Linear(100, 50, bias=bias, dtype=dtype, rng=0)
    parameters = [layer.weight.data] + ([layer.bias.data] if bias else [])
    for values in parameters:
        assert np.abs(values).max() <= 0.1 * (1 + eps(dtype))
        assert np.abs(values).max() > 0.08
        # Of a uniform distribution; five standard errors.
        assert abs(values.mean()) < 5 * 0.1 / math.sqrt(3 * values.size)
    assert layer.weight.data.std() == pytest.approx(0.1 / math.sqrt(3), rel=0.05)


def test_linear_reset_parameters_is_deterministic(dtype):
    layers = [fm.Linear(3, 4, dtype=dtype, rng=0) for _ in range(2)]
    assert_same_bits(layers[0].weight.data, layers[1].weight.data)
    layers[1].reset_parameters(1)
    assert not np.array_equal(layers[0].weight.data, layers[1].weight.data)
    layers[1].reset_parameters(np.random.default_rng(0))
    assert_same_bits(layers[0].weight.data, layers[1].weight.data)
    assert_same_bits(layers[0].bias.data, layers[1].bias.data)


@pytest.mark.parametrize("bias", [True, False], ids=["bias", "no_bias"])
def test_linear_has_named_parameters(bias):
    layer = fm.Linear(3, 4, bias=bias)
    assert [name for name, _ in layer.named_parameters()] == (["weight", "bias"] if bias else ["weight"])
    assert layer.weight.shape == (4, 3)
    assert (layer.bias is not None) == bias
    assert list(layer.state_dict()) == [name for name, _ in layer.named_parameters()]


def test_linear_without_bias_never_gets_one(dtype):
    layer = fm.Linear(3, 4, bias=False, dtype=dtype, rng=0)
    optimizer = fm.SGD(layer.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for _ in range(3):
        layer(np.ones((5, 3)))
        layer.backward(np.ones((5, 4)))
        optimizer.step()
    assert not layer(np.zeros((1, 3))).any()


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((0, 2), ValueError, "in_features must be at least 1; got 0"),
        ((2, -1), ValueError, "out_features must be at least 1; got -1"),
        ((2.0, 1), TypeError, "in_features must be a whole number; got 2.0"),
        ((2, "3"), TypeError, "out_features must be a whole number; got '3'"),
    ],
)
def test_linear_rejects_bad_widths(arguments, error, message):
    with pytest.raises(error, match=message):
        fm.Linear(*arguments)


def test_linear_rejects_bad_dtype():
    with pytest.raises(TypeError, match="dtype must be float32 or float64; got int32"):
        fm.Linear(2, 3, dtype=np.int32)


def test_linear_rejects_bad_input():
    layer = fm.Linear(784, 128)
    with pytest.raises(
        ValueError, match=r"Linear\(784, 128\) expects \(N, 784\); got \(784,\): add a batch axis, x\[None, :\]"
    ):
        layer(np.zeros(784))
    with pytest.raises(ValueError, match=r"Linear\(784, 128\) expects \(N, 784\); got \(5, 783\)"):
        layer(np.zeros((5, 783)))


def test_linear_rejects_bad_gradient():
    layer = fm.Linear(2, 3)
    with pytest.raises(RuntimeError, match=r"Linear\.backward was called before forward"):
        layer.backward(np.zeros((5, 3)))
    layer(np.zeros((5, 2)))
    for shape, hint in (
        ((5, 2), ""),
        ((4, 3), ""),
        ((3, 5), ": transpose it, dy.T"),
        ((15,), ": dy.reshape"),
        ((), ": not the loss"),
    ):
        with pytest.raises(
            ValueError, match=re.escape(f"Linear(2, 3) expects the shape of the last output, (5, 3); got {shape}{hint}")
        ):
            layer.backward(np.zeros(shape))
    assert not layer.weight.grad.any()


def test_linear_without_a_bias_any_more_has_none(dtype):
    """Removed or set to None, alone and in a network: it does not go on working unseen."""
    x = np.array([[1, 2]], dtype)
    for remove in (lambda layer: setattr(layer, "bias", None), lambda layer: delattr(layer, "bias")):
        alone, model = fm.Linear(2, 3, dtype=dtype, rng=0), fm.Sequential(fm.Linear(2, 3, dtype=dtype, rng=0), fm.Tanh())
        for layer in (alone, model[0]):
            layer(x)
            remove(layer)
            assert layer.bias is None
            assert repr(layer) == "Linear(2, 3, bias=False)"
            assert list(layer.state_dict()) == ["weight"]
            assert_same_bits(layer(0 * x), np.zeros((1, 3), dtype))
        assert_same_bits(model.predict(0 * x), np.zeros((1, 3), dtype))
        assert sum(parameter.span for parameter in model.parameters()) == model.storage.data.size
        other = fm.Sequential(fm.Linear(2, 3, bias=False, dtype=dtype, rng=1), fm.Tanh())
        other.load_state_dict(model.state_dict())
        assert_same_bits(other(x), model(x))


def test_linear_may_get_a_bias_later(dtype):
    model = fm.Sequential(fm.Linear(2, 3, bias=False, rng=0), dtype=dtype)
    before = model([[1, 2]])
    model[0].bias = bias = fm.Parameter((3,))
    bias.data = [1, 2, 3]
    assert_same_bits(model([[1, 2]]), before + np.array([[1, 2, 3]], dtype))
    assert list(model.state_dict()) == ["0.weight", "0.bias"]
    assert model[0].bias.dtype == dtype


def test_linear_rejects_what_cannot_be_its_parameters():
    for layer in (fm.Linear(2, 3), fm.Sequential(fm.Linear(2, 3))[0]):
        before = layer.state_dict()
        with pytest.raises(ValueError, match=r"weight of Linear\(2, 3\) must have the shape \(3, 2\); got \(30, 20\)"):
            layer.weight = fm.Parameter((30, 20))
        with pytest.raises(ValueError, match=r"bias of Linear\(2, 3\) must have the shape \(3,\); got \(2,\)"):
            layer.bias = fm.Parameter((2,))
        for value in (np.zeros((3, 2)), [[1]], 1.0):
            with pytest.raises(
                TypeError, match=r"weight of Linear is a Parameter; assign a Parameter, or its numbers: .weight.data"
            ):
                layer.weight = value
        with pytest.raises(TypeError, match="weight of a Linear must be a Parameter; got None"):
            layer.weight = None
        with pytest.raises(AttributeError, match="without a weight"):
            del layer.weight
        for name, values in layer.state_dict().items():
            assert_same_bits(values, before[name])
    layer.bias = None
    with pytest.raises(TypeError, match="bias of a Linear must be a Parameter or None; got 3"):
        layer.bias = 3


def test_widths_of_a_linear_are_fixed():
    """They are what the memory was laid out for."""
    layer = fm.Linear(2, 3)
    for name in ("in_features", "out_features"):
        with pytest.raises(AttributeError):
            setattr(layer, name, 300)
    assert (layer.in_features, layer.out_features) == (2, 3)
