from __future__ import annotations

import numpy as np
from helpers import assert_same_bits, assert_within, eps, jit, lanes, normal

from fastmlp.kernels.products.columns import add_products


@jit
def call_add_products(sums, at, a, a_at, a_row, b, b_at, b_row, columns, rows):
    add_products(sums, at, a, a_at, a_row, b, b_at, b_row, columns, rows)


def test_add_products_matches_reference(dtype, rng):
    line = lanes(dtype)
    for rows in (0, 1, 2, 17):
        for columns in (line, 3 * line):
            a, b = normal(rng, (rows, 4 * line), dtype), normal(rng, (rows, 5 * line), dtype)
            sums = normal(rng, 5 * line, dtype)
            expected = sums.astype(np.float64)
            part = slice(line, line + columns)
            wide = a[:, part].astype(np.float64), b[:, part].astype(np.float64)
            expected[part] += (wide[0] * wide[1]).sum(0)
            size = np.abs(sums.astype(np.float64))
            size[part] += (np.abs(wide[0]) * np.abs(wide[1])).sum(0)
            before = sums.copy()
            call_add_products(sums, line, a.ravel(), line, 4 * line, b.ravel(), line, 5 * line, columns, rows)
            assert_within(sums, expected, (rows + 1) * eps(dtype) * size)
            before[part] = sums[part]
            assert_same_bits(before, sums)


def test_add_products_is_one_chain_for_each_column(dtype, rng):
    """Whatever columns are taken together, and however many rows at a time."""
    line = lanes(dtype)
    a, b = normal(rng, (9, 3 * line), dtype), normal(rng, (9, 3 * line), dtype)
    together, apart = np.zeros(3 * line, dtype), np.zeros(3 * line, dtype)
    call_add_products(together, 0, a.ravel(), 0, 3 * line, b.ravel(), 0, 3 * line, 3 * line, 9)
    for column in range(0, 3 * line, line):
        for first, rows in ((0, 4), (4, 5)):
            at = first * 3 * line + column
            call_add_products(apart, column, a.ravel(), at, 3 * line, b.ravel(), at, 3 * line, line, rows)
    assert_same_bits(together, apart)
