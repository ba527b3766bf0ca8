from __future__ import annotations

import numpy as np
import pytest
from helpers import COLUMNS, ROWS, assert_same_bits, assert_within, eps, normal, padded

from fastmlp.kernels import linear

SHAPES = [(rows, width_in, width_out) for rows in ROWS for width_in, width_out in zip(COLUMNS, COLUMNS[::-1])]


def layer(rng, rows, width_in, width_out, dtype):
    x, weight, bias, dy = (
        normal(rng, shape, dtype) for shape in ((rows, width_in), (width_in, width_out), (1, width_out), (rows, width_out))
    )
    return x, weight, bias, dy


@pytest.mark.parametrize(("rows", "width_in", "width_out"), SHAPES)
def test_linear_forward_matches_reference(rows, width_in, width_out, dtype, rng):
    x, weight, bias, _ = layer(rng, rows, width_in, width_out, dtype)
    y = padded(np.full((rows, width_out), np.nan, dtype))
    linear.linear_forward(y, padded(x), padded(weight), padded(bias), width_out)
    wide = [a.astype(np.float64) for a in (x, weight, bias)]
    bound = (width_in + 1) * eps(dtype) * (np.abs(wide[0]) @ np.abs(wide[1]) + np.abs(wide[2]))
    assert_within(y[:, :width_out], wide[0] @ wide[1] + wide[2], bound)
    assert not y[:, width_out:].any()


def backward(x, weight, dy, dweight, dbias, has_bias=True):
    rows, width_in = x.shape
    width_out = weight.shape[1]
    dx = padded(np.full((rows, width_in), np.nan, x.dtype))
    weight_t = np.full((padded(dbias).shape[1], dx.shape[1]), np.nan, x.dtype)
    dweight, dbias = padded(dweight), padded(dbias)
    linear.linear_backward(dx, dweight, dbias, weight_t, padded(dy), padded(x), padded(weight), width_out, has_bias)
    for array, width in ((dx, width_in), (dweight, width_out), (dbias, width_out)):
        assert not array[:, width:].any(), "padding"
    return dx[:, :width_in], dweight[:, :width_out], dbias[:, :width_out]


@pytest.mark.parametrize(("rows", "width_in", "width_out"), SHAPES)
def test_linear_backward_matches_reference(rows, width_in, width_out, dtype, rng):
    x, weight, bias, dy = layer(rng, rows, width_in, width_out, dtype)
    dx, dweight, dbias = backward(x, weight, dy, np.zeros_like(weight), np.zeros_like(bias))
    x, weight, dy = (a.astype(np.float64) for a in (x, weight, dy))
    assert_within(dx, dy @ weight.T, width_out * eps(dtype) * (np.abs(dy) @ np.abs(weight.T)))
    assert_within(dweight, x.T @ dy, rows * eps(dtype) * (np.abs(x.T) @ np.abs(dy)))
    assert_within(dbias, dy.sum(0, keepdims=True), rows * eps(dtype) * np.abs(dy).sum(0, keepdims=True))


def test_linear_backward_accumulates_params_and_overwrites_input(dtype, rng):
    x, weight, bias, dy = layer(rng, 9, 7, 17, dtype)
    start, start_bias = normal(rng, weight.shape, dtype), normal(rng, bias.shape, dtype)
    dx, dweight, dbias = backward(x, weight, dy, start, start_bias)
    plain_dx, plain_dweight, plain_dbias = backward(x, weight, dy, np.zeros_like(weight), np.zeros_like(bias))
    assert_same_bits(dx, plain_dx)
    scale = np.abs(start) + np.abs(x.T) @ np.abs(dy)
    assert_within(dweight, start + plain_dweight.astype(np.float64), 10 * eps(dtype) * scale)
    scale = np.abs(start_bias) + np.abs(dy).sum(0, keepdims=True)
    assert_within(dbias, start_bias + plain_dbias.astype(np.float64), 10 * eps(dtype) * scale)


def test_linear_backward_without_bias_leaves_its_gradient_alone(dtype, rng):
    x, weight, bias, dy = layer(rng, 9, 7, 17, dtype)
    start = normal(rng, bias.shape, dtype)
    *_, dbias = backward(x, weight, dy, np.zeros_like(weight), start, has_bias=False)
    assert_same_bits(dbias, start)
