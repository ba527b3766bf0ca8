from __future__ import annotations

import numpy as np
import pytest
from helpers import COLUMNS, ROWS, assert_same_bits, assert_within, eps, normal, padded

from fastmlp.kernels import losses


def scratch(classes, dtype):
    return np.full((classes + losses.SPARE_ROWS, losses.LOSS_ROWS), np.nan, dtype)


def cross_entropy(logits, labels, scale):
    rows, classes = logits.shape
    each = np.full(rows, np.nan, logits.dtype)
    saved = padded(np.full_like(logits, np.nan))
    losses.cross_entropy_forward(each, saved, padded(logits), labels, scratch(classes, logits.dtype), classes)
    assert not saved[:, classes:].any()
    gradient = saved.copy()
    losses.cross_entropy_backward(gradient, labels, logits.dtype.type(scale))
    assert not gradient[:, classes:].any()
    return each, gradient[:, :classes]


def cross_entropy_reference(logits, labels, scale):
    logits = logits.astype(np.float64)
    shifted = logits - logits.max(1, keepdims=True)
    total = np.exp(shifted).sum(1)
    each = np.log(total) - shifted[np.arange(len(labels)), labels]
    return each, scale * (np.exp(shifted) / total[:, None] - np.eye(logits.shape[1])[labels])


@pytest.mark.parametrize("classes", COLUMNS)
@pytest.mark.parametrize("rows", ROWS)
def test_cross_entropy_matches_reference(rows, classes, dtype, rng):
    logits, labels = 5 * normal(rng, (rows, classes), dtype), rng.integers(classes, size=rows)
    each, gradient = cross_entropy(logits, labels, 1 / rows)
    expected, expected_gradient = cross_entropy_reference(logits, labels, 1 / rows)
    # The logits' difference is rounded before it is exponentiated, hence their size in the bounds.
    size = 1 + np.abs(logits).max()
    assert_within(each, expected, (classes + 4) * eps(dtype) * size)
    assert_within(gradient, expected_gradient, (classes + 8) * eps(dtype) * size / rows)


def test_cross_entropy_of_large_logits_is_finite(dtype):
    large = np.finfo(dtype).max / 4
    logits = np.array([[large, -large, 0], [-large, -large, -large], [0, 0, large]], dtype)
    each, gradient = cross_entropy(logits, np.array([0, 1, 2]), 1)
    assert_within(each, [0, np.log(3), 0], 4 * eps(dtype))
    assert_within(gradient, [[0, 0, 0], [1 / 3, -2 / 3, 1 / 3], [0, 0, 0]], 4 * eps(dtype))


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize("column", [0, 1, 2])
def test_cross_entropy_of_a_number_that_is_not_finite_is_not_finite(wrong, column, dtype):
    logits = np.zeros((2, 3), dtype)
    logits[1, column] = wrong
    each, saved = np.empty(2, dtype), np.empty_like(padded(logits))
    losses.cross_entropy_forward(each, saved, padded(logits), np.array([0, 1]), scratch(3, dtype), 3)
    assert_within(each[:1], [np.log(3)], 4 * eps(dtype))
    assert not np.isfinite(each[1])


def mse(outputs, targets, scale):
    rows, width = outputs.shape
    each, saved = np.full(rows, np.nan, outputs.dtype), np.full_like(padded(outputs), np.nan)
    losses.mse_forward(each, saved, padded(outputs), padded(targets), width)
    assert not saved[:, width:].any()
    losses.mse_backward(saved, outputs.dtype.type(scale))
    assert not saved[:, width:].any()
    return each, saved[:, :width]


@pytest.mark.parametrize("width", COLUMNS)
@pytest.mark.parametrize("rows", ROWS)
def test_mse_matches_reference(rows, width, dtype, rng):
    outputs, targets = normal(rng, (rows, width), dtype), normal(rng, (rows, width), dtype)
    each, gradient = mse(outputs, targets, 2 / (rows * width))
    difference = outputs.astype(np.float64) - targets
    assert_within(each, (difference**2).sum(1), (width + 3) * eps(dtype) * (difference**2).sum(1))
    assert_within(gradient, 2 * difference / (rows * width), 3 * eps(dtype) * np.abs(difference) / (rows * width) * 2)


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
def test_loss_of_a_row_does_not_depend_on_the_others(loss, dtype, rng):
    out, labels, targets = normal(rng, (9, 17), dtype), rng.integers(17, size=9), normal(rng, (9, 17), dtype)
    function, y = (cross_entropy, labels) if loss == "cross_entropy" else (mse, targets)
    together, gradient = function(out, y, 0.5)
    for row in range(9):
        each, dout = function(out[row : row + 1], y[row : row + 1], 0.5)
        assert_same_bits(each[0], together[row])
        assert_same_bits(dout[0], gradient[row])


def test_loss_sum_is_in_order_and_in_float64(dtype):
    values = np.array([1e8, 1, -1e8, 2**-20], dtype)
    total = losses.loss_sum(values)
    assert total == ((0.0 + 1e8) + 1 - 1e8) + 2**-20
