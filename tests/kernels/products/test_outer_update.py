"""A formula with the product of a column and a row: the numbers of the formula, and nothing beyond the columns."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import COLUMNS, JIT, assert_same_bits, jit, jit_only, masked_stores, normal

from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.compiler.lines import update_pass
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.products.outer import outer
from fastmlp.kernels.products.outer_update import STRIP_VECTORS, outer_update_pass


def decayed(p, g, minus_lr, decay):
    return muladd(minus_lr, muladd(decay, p, g), p)


def by_signs(p, g, minus_lr, decay):
    return p + minus_lr * g / (abs(g) + decay)


def kept_unless(p, g, rate):
    return select(g > 0, p - rate * g, p)


KEPT = outer_update_pass(kept_unless, 1)
PASSES = {formula: (outer_update_pass(formula, 2), update_pass(formula, 0, 2)) for formula in (decayed, by_signs)}


def functions_of(formula):
    at_once, update = PASSES[formula]

    @jit
    def by_product(rows, columns, stride, p, a, b, c):
        at_once(rows, columns, stride, p, 8, a, 3, b, 5, c, 1)

    @jit
    def by_gradient(rows, columns, stride, p, a, b, c, gradient, zero):
        outer(gradient, 0, stride, zero, 0, 0, a, 3, rows, b, 5, columns)
        update(rows * stride, p, 8, gradient, 0, zero, 0, 0, c, 1)

    return by_product, by_gradient


@pytest.mark.parametrize("formula", PASSES)
def test_it_is_the_formula_of_the_gradient(dtype, formula):
    by_product, by_gradient = functions_of(formula)
    rng = np.random.default_rng(0)
    lanes = REGISTER_BYTES // np.dtype(dtype).itemsize
    strips = [lanes * STRIP_VECTORS + 1, 2 * lanes * STRIP_VECTORS + lanes] if JIT else []
    c = np.array([9, -0.25, 0.5], dtype)
    for columns in (*COLUMNS, *strips):
        for rows in (0, 1, 2, 26):
            stride = row_stride(columns, dtype)
            p, a, b = (normal(rng, size, dtype) for size in (8 + rows * stride + 1, 3 + rows, 5 + stride))
            p[8 : 8 + rows * stride].reshape(rows, stride)[:, columns:] = 0
            a[3 + rows // 2 :] = 0  # -0 + 0 is 0
            expected, gradient = p.copy(), np.zeros(max(1, rows) * stride, dtype)
            b_alone = b.copy()
            b_alone[5 + columns :] = 0
            by_gradient(rows, columns, stride, expected, a, b_alone, c, gradient, np.zeros(stride, dtype))
            by_product(rows, columns, stride, p, a, b, c)  # b goes on beyond the columns
            assert_same_bits(p, expected)


def test_a_number_of_the_row_that_is_not_finite_stays_in_its_column(dtype):
    by_product, _ = functions_of(decayed)
    p, a, b = np.ones(8 + 32, dtype), np.full(4, 2, dtype), np.zeros(5 + 16, dtype)
    b[5 + 2], b[5 + 3] = np.inf, np.nan
    by_product(1, 3, 16, p, a, b, np.array([0, -1, 0], dtype))
    assert np.isinf(p[10])
    assert np.isfinite(np.delete(p, 10)).all()


@jit_only
def test_parameters_are_stored_in_whole_vectors(dtype):
    @jit
    def kernel(p, a, b, c):
        KEPT(a.size, b.size, b.size, p, 0, a, 0, b, 0, c, 0)

    p, a, b = np.ones(32, dtype), np.array([-1, 1], dtype), np.full(16, 2, dtype)
    kernel(p, a, b, np.array([0.5], dtype))
    assert_same_bits(p, np.repeat(np.array([1, 0], dtype), 16))
    assert masked_stores(kernel) == 0


def test_a_wrong_number_of_arguments_is_named():
    with pytest.raises(TypeError, match=r"takes 11 arguments, rows, columns, .*; got 2"):
        PASSES[decayed][0](1, 2)
