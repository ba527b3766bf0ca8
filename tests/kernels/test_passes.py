"""Passes through a whole network, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, make_net, normal

from fastmlp.kernels.passes import backward_pass, forward_pass
from fastmlp.modules.lowering import try_lower
from fastmlp.program import BLOCK_ROWS

ROWS = [1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 3 * BLOCK_ROWS + 5]


def laid_out(model, rows, **how):
    return try_lower(model, model[0].in_features, model.dtype).lay_out(rows, **how)


def forward(space, model, x, *, keep):
    out = np.full((len(x), space.width), np.nan, x.dtype)
    forward_pass(space.ops, space.plan, model.storage.data, space.work, x, out, keep)
    return out


@pytest.mark.parametrize("rows", ROWS)
def test_forward_pass_matches_reference(rows, dtype, rng):
    model = make_net([3, 17, 2], dtype=dtype)
    x = normal(rng, (rows, 3), dtype)
    w1, b1, w2, b2 = (parameter.data.astype(np.float64) for parameter in model.parameters())
    expected = np.tanh(x.astype(np.float64) @ w1.T + b1) @ w2.T + b2
    # Numbers of order 1: the rounding of the hidden layer, and that of the output.
    bound = (3 + 3 + 17 + 3) * eps(dtype) * 4
    assert_within(forward(laid_out(model, BLOCK_ROWS), model, x, keep=False), expected, bound)


@pytest.mark.parametrize("rows", ROWS)
def test_forward_pass_gives_the_same_whether_it_keeps_or_not(rows, dtype, rng):
    model = make_net([5, 17, 9, 3], "sigmoid", dtype=dtype)
    x = normal(rng, (rows, 5), dtype)
    kept = forward(laid_out(model, rows + 3, input_delta=True), model, x, keep=True)
    assert_same_bits(kept, forward(laid_out(model, BLOCK_ROWS), model, x, keep=False))


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("width", [3, 16])  # 16 leaves no room for the bias's input in float32 and in float64
@pytest.mark.parametrize("rows", ROWS)
def test_backward_pass_matches_reference(rows, width, bias, dtype, rng):
    model = make_net([width, 17, 2], dtype=dtype, bias=bias)
    space = laid_out(model, rows, input_delta=True)
    x, dy = normal(rng, (rows, width), dtype), normal(rng, (rows, 2), dtype)
    forward(space, model, x, keep=True)
    dx = np.full_like(x, np.nan)
    model.storage.grad[:] = 0
    backward_pass(space.ops, space.plan, model.storage.data, model.storage.grad, space.work, dx, dy)

    x, dy = x.astype(np.float64), dy.astype(np.float64)
    w1, w2 = (model[i].weight.data.astype(np.float64) for i in (0, 2))
    b1 = model[0].bias.data.astype(np.float64) if bias else 0.0
    h = np.tanh(x @ w1.T + b1)
    dh = dy @ w2 * (1 - h * h)
    bound = (17 + width + rows) * eps(dtype) * 8 * max(1.0, np.sqrt(rows))
    assert_within(dx, dh @ w1, bound)
    assert_within(model[2].weight.grad, dy.T @ h, bound)
    assert_within(model[0].weight.grad, dh.T @ x, bound)
    if bias:
        assert_within(model[2].bias.grad, dy.sum(0), bound)
        assert_within(model[0].bias.grad, dh.sum(0), bound)


def test_backward_pass_adds_to_the_gradients(dtype, rng):
    model = make_net([3, 17, 2], dtype=dtype)
    space = laid_out(model, 9, input_delta=True)
    x, dy = normal(rng, (9, 3), dtype), normal(rng, (9, 2), dtype)
    forward(space, model, x, keep=True)
    model.storage.grad[:] = 0
    for times in (1, 2):
        backward_pass(space.ops, space.plan, model.storage.data, model.storage.grad, space.work, np.empty_like(x), dy)
        if times == 1:
            once = model.storage.grad.copy()
    assert_within(model.storage.grad, 2.0 * once, 9 * eps(dtype) * 16)
    assert once.any()
