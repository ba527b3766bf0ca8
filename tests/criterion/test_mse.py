from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import COLUMNS, DIFFERENCE_BOUND, ROWS, assert_same_bits, assert_within, central_differences, eps, normal

import fastmlp as fm


def test_mse_matches_reference(dtype, rng):
    for rows, width in itertools.product(ROWS, COLUMNS):
        check(rows, width, dtype, rng)


def check(rows, width, dtype, rng):
    out, y = normal(rng, (rows, width), dtype), normal(rng, (rows, width), dtype)
    criterion = fm.MSELoss()
    loss, gradient = criterion(out, y), criterion.backward()
    difference = out.astype(np.float64) - y
    assert_within(loss, (difference**2).mean(), (width + 4) * eps(dtype) * (difference**2).mean())
    assert_within(gradient, 2 * difference / out.size, 4 * eps(dtype) * np.abs(difference) * 2 / out.size)
    assert isinstance(loss, float)
    assert gradient.dtype == dtype


def test_mse_matches_finite_difference(rng):
    out, y = normal(rng, (5, 7), np.float64), normal(rng, (5, 7), np.float64)
    criterion = fm.MSELoss()
    criterion(out, y)
    gradient = criterion.backward()
    assert_within(gradient, central_differences(lambda: criterion(out, y), out), DIFFERENCE_BOUND)


def test_mse_takes_one_axis_for_one_output(dtype):
    criterion = fm.MSELoss()
    assert criterion(np.array([[1], [3]], dtype), [0, 1]) == 2.5
    assert_same_bits(criterion.backward(), np.array([[1], [2]], dtype))


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        (np.zeros(3), ValueError, r"shape of the outputs, \(N, 2\); got \(3,\)"),
        (np.zeros((3, 1)), ValueError, r"shape of the outputs, \(N, 2\); got \(3, 1\)"),
        (np.zeros((2, 2)), ValueError, "as many rows as each other; got 3 and 2"),
        ([["a", "b"]] * 3, TypeError, "y must hold real numbers; got text"),
        (np.zeros((3, 2), complex), TypeError, "complex numbers"),
    ],
)
def test_mse_rejects_bad_targets(y, error, message):
    criterion = fm.MSELoss()
    with pytest.raises(error, match=message):
        criterion(np.zeros((3, 2)), y)
    with pytest.raises(RuntimeError, match=r"MSELoss\.backward was called before forward"):
        criterion.backward()
