"""A formula over a row gives the same totals wherever the row lies, and what lies behind the row has no part in them."""

from __future__ import annotations

import math

import numpy as np
from helpers import assert_same_bits, assert_within, eps, jit, jit_only, lanes, masked_stores, normal

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.compiler.rows import LARGEST, SUM, row_pass
from fastmlp.kernels.elementary import exp


def product(a, b):
    return a * b


def shifted(x, shift):
    e = exp(x - shift)
    return e, e, x * shift


def limited(x, most):
    y = select(x > most, most, x)
    return y, y


def same(x):
    return x


PRODUCT, SHIFTED, SAME = row_pass(product, 2), row_pass(shifted, 1, 1, 1, 2), row_pass(same, 1, total=LARGEST)

LIMITED = row_pass(limited, 1, 1, 1)

SIZES = [1, 2, 7, 8, 9, 15, 16, 17, 31, 32, 33, 47, 48, 49, 100, 257]


@jit
def run_product(size, a, a_at, b, b_at, t, t_at):
    PRODUCT(size, a, a_at, b, b_at, a, 0, t, t_at)


@jit
def run_shifted(size, x, x_at, y, y_at, c, c_at, t, t_at):
    SHIFTED(size, x, x_at, y, y_at, c, c_at, t, t_at)


@jit
def run_largest(size, x, x_at, t, t_at):
    SAME(size, x, x_at, x, 0, t, t_at)


def behind(row, dtype):
    """A row and what lies behind it in its last line: NaN."""
    padded = np.full(-(-len(row) // lanes(dtype)) * lanes(dtype) + lanes(dtype), np.nan, dtype)
    padded[: len(row)] = row
    return padded


def in_lines(values, add, start):
    """The total by the order that the module promises, one number after the other."""
    width = lanes(values.dtype)
    kept = [values.dtype.type(start)] * width
    for i, value in enumerate(values):
        kept[i % width] = add(kept[i % width], value)
    while len(kept) > 1:
        half = len(kept) // 2
        kept = [add(kept[i], kept[half + i]) for i in range(half)]
    return kept[0]


def test_sum_is_that_of_the_promised_order(dtype, rng):
    for size in SIZES:
        a, b = normal(rng, size, dtype), normal(rng, size, dtype)
        t = np.full(3, 7, dtype)
        run_product(size, behind(a, dtype), 0, behind(b, dtype), 0, t, 1)
        assert_same_bits(t, np.array([7, in_lines(a * b, lambda x, y: x + y, 0), 7], dtype))
        exact = math.fsum((a.astype(float) * b).tolist())
        assert_within(t[1], exact, (size + 1) * eps(dtype) * np.abs(a.astype(float) * b).sum())


def test_outputs_are_zero_behind_the_row_and_totals_may_replace_constants(dtype, rng):
    for size in SIZES:
        x = normal(rng, size, dtype)
        for place in (0, lanes(dtype)):
            given = np.concatenate([np.full(place, np.nan, dtype), behind(x, dtype)])
            y, t = np.full_like(given, 9), np.array([5, 0.5, 5, 5], dtype)
            run_shifted(size, given, place, y, place, t, 1, t, 1)
            e = exp(x - dtype.type(0.5))
            last = place + len(behind(x, dtype)) - lanes(dtype)
            assert_within(y[place : place + size], e, 2 * eps(dtype) * e)
            assert not y[place + size : last].any()
            assert (y[:place] == 9).all()
            assert (y[last:] == 9).all()
            assert (t[[0, 3]] == 5).all()
            assert_same_bits(t[1], in_lines(y[place : place + size], lambda a, b: a + b, 0))
            assert_same_bits(t[2], in_lines(x * dtype.type(0.5), lambda a, b: a + b, 0))


def test_output_may_be_the_input(dtype, rng):
    x, t = normal(rng, 21, dtype), np.array([0.5, 0], dtype)
    apart, together = np.zeros(len(behind(x, dtype)), dtype), behind(x, dtype)
    run_shifted(21, behind(x, dtype), 0, apart, 0, t.copy(), 0, t.copy(), 0)
    run_shifted(21, together, 0, together, 0, t.copy(), 0, t.copy(), 0)
    assert_same_bits(apart[:21], together[:21])


@jit_only
def test_output_that_may_be_the_input_is_stored_in_whole_vectors(dtype, rng):
    @jit
    def kernel(size, x, t):
        LIMITED(size, x, 0, x, 0, t, 0, t, 0)

    x, t = behind(normal(rng, 37, dtype), dtype), np.array([0.5], dtype)
    expected = np.minimum(x[:37], t)
    kernel(37, x, t)
    np.testing.assert_array_equal(x[:37], expected)
    assert masked_stores(kernel) == 0


def test_largest_passes_over_nan(dtype, rng):
    for size in SIZES:
        x, t = normal(rng, size, dtype), np.zeros(1, dtype)
        run_largest(size, behind(x, dtype), 0, t, 0)
        assert t[0] == x.max()
        x[size // 2] = np.nan
        run_largest(size, behind(x, dtype), 0, t, 0)
        assert t[0] == (np.nanmax(x) if size > 1 else -np.inf)
        x[0] = np.inf
        run_largest(size, behind(x, dtype), 0, t, 0)
        assert t[0] == np.inf


def test_passes_are_told_apart_by_their_instructions(dtype):
    texts = {PRODUCT.instructions(dtype), SAME.instructions(dtype), row_pass(same, 1).instructions(dtype)}
    assert len(texts) == 3
    assert row_pass(product, 2, total=SUM).instructions(dtype) == PRODUCT.instructions(dtype)
    assert row_pass(lambda a, b: muladd(a, b, 0), 2).instructions(dtype) != PRODUCT.instructions(dtype)
