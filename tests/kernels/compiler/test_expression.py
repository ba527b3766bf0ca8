"""What an expression emits is what NumPy computes."""

from __future__ import annotations

import numba
import numpy as np
import pytest
from helpers import assert_same_bits, jit, jit_only

from fastmlp.kernels.compiler import expression as e


def one(x):
    return x.dtype.type(1)


def on_bits(function):
    return lambda x: e.bits_to_float(function(e.float_to_bits(x)))


# The expression, with constants to the left and to the right, and the same for a NumPy array.
CASES = {
    "add": (lambda x: (x + one(x)) + (one(x) + x), lambda x: (x + 1) + (1 + x)),
    "subtract": (lambda x: (x - one(x)) * (one(x) - x), lambda x: (x - 1) * (1 - x)),
    "multiply": (lambda x: x * x * (one(x) * x), lambda x: x * x * x),
    "divide": (lambda x: (x / (one(x) + one(x))) / (one(x) / x), lambda x: (x / 2) / (1 / x)),
    "negate": (lambda x: -x, np.negative),
    "abs": (abs, np.abs),
    "less": (lambda x: e.select(x < one(x), one(x), x), lambda x: np.where(x < 1, 1, x)),
    "greater": (lambda x: e.select(x > one(x), x, -x), lambda x: np.where(x > 1, x, -x)),
    "constants": (lambda x: e.select(one(x) < x, one(x), -one(x)), lambda x: np.where(x > 1, 1, -1)),
    "copysign": (lambda x: e.copysign(x * x, x), lambda x: np.copysign(x * x, x)),
    "muladd": (lambda x: e.muladd(one(x), x, x), lambda x: x + x),
    "muladd of constants": (lambda x: e.muladd(one(x), one(x), x), lambda x: 1 + x),
    "shift": (on_bits(lambda n: (n >> n.dtype.type(3)) << n.dtype.type(3)), on_bits(lambda n: n - n % 8)),
    "bits": (on_bits(lambda n: (n & n.dtype.type(-4)) + n.dtype.type(1)), on_bits(lambda n: n - n % 4 + 1)),
}


def call(function, x):
    function = e.expression(function)

    @jit
    def loop(y, x):
        for i in range(x.size):
            y[i] = function(x[i])

    y = np.empty_like(x)
    loop(y, x)
    return y


@pytest.mark.parametrize("case", CASES)
def test_expression_is_what_numpy_computes(case, dtype, rng):
    written, plain = CASES[case]
    x = np.concatenate([rng.standard_normal(31), [1, -1, 2, 1e10, -1e-10]]).astype(dtype)
    assert_same_bits(call(written, x), plain(x).astype(dtype))


def test_muladd_is_rounded_once_or_twice(dtype, rng):
    x = rng.standard_normal(67).astype(dtype)
    third = dtype.type(1) / dtype.type(3)
    y = call(lambda x: e.muladd(x, third, x), x)
    bound = np.finfo(dtype).eps * (np.abs(x * third) + np.abs(x))
    assert (np.abs(y - (x * third + x)) <= bound).all()


def test_comparison_with_nan_is_false(dtype):
    x = np.full(3, np.nan, dtype)
    below = call(lambda x: e.select(x < one(x), one(x), -one(x)), x)
    above = call(lambda x: e.select(x > one(x), one(x), -one(x)), x)
    np.testing.assert_array_equal(below, -1)
    np.testing.assert_array_equal(above, -1)


@jit_only
def test_expression_rejects_numbers_of_two_dtypes():
    with pytest.raises(TypeError, match="one dtype; got float32 and float64"):
        call(lambda x: x + np.float64(1), np.ones(3, np.float32))


@jit_only
def test_expression_is_for_floats_only():
    with pytest.raises(numba.TypingError):
        call(abs, np.ones(3, np.int64))
