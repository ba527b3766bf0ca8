from __future__ import annotations

import numpy as np
import pytest
from helpers import COLUMNS, ROWS, assert_same_bits, assert_within, eps, jit, normal, padded, small

from fastmlp.kernels.products.matmul import ADJACENT, DEPTH_AT_ONCE, DEPTH_OF_BLOCK, FAR, FAR_ROWS, SAME, matmul, matmul_above
from fastmlp.kernels.products.tile import TILE_ROWS

DEPTHS = [1, 2, 31]


@jit
def product(c, init, init_row, a, a_row, a_k, b, columns, depth):
    matmul(c, init, init_row, a, a_row, a_k, b, columns, depth)


@jit
def product_above(c, init, init_row, init_n, a, a_row, a_k, b, columns, depth, floor):
    matmul_above(c, init, init_row, init_n, a, a_row, a_k, b, columns, depth, floor)


def operands(rng, rows, columns, depth, dtype):
    a, b, init = (normal(rng, shape, dtype) for shape in ((rows, depth), (depth, columns), (rows, columns)))
    wide = [x.astype(np.float64) for x in (a, b, init)]
    expected = wide[2] + wide[0] @ wide[1]
    bound = (depth + 1) * eps(dtype) * (np.abs(wide[2]) + np.abs(wide[0]) @ np.abs(wide[1]))
    return a, b, init, expected, bound


def test_matmul_matches_reference(dtype, rng):
    """With A as it lies, and transposed, which is the same to the bit; the padding stays zero."""
    for rows in ROWS:
        for columns in COLUMNS:
            for depth in DEPTHS:
                a, b, init, expected, bound = operands(rng, rows, columns, depth, dtype)
                start = padded(init)
                c = np.full_like(start, np.nan)
                product(c, start, start.shape[1], a, depth, ADJACENT, padded(b), columns, depth)
                assert_within(c[:, :columns], expected, bound)
                other = np.zeros_like(start)
                product(other, start, start.shape[1], np.ascontiguousarray(a.T), ADJACENT, rows, padded(b), columns, depth)
                assert_same_bits(other[:, :columns], c[:, :columns])
                assert not other[:, columns:].any()


def test_a_product_that_asks_for_strips_ahead_is_the_same(dtype, rng):
    """Of a matrix B that no cache holds, as strip by strip."""
    rows, columns, depth = small((FAR_ROWS + 3, 1100, 131), (FAR_ROWS + 3, 50, 3))
    a, b, init, expected, bound = operands(rng, rows, columns, depth, dtype)
    start, b = padded(init), padded(b)
    assert b.size > FAR or small(False, True)
    c = np.zeros_like(start)
    product(c, start, start.shape[1], a, depth, ADJACENT, b, columns, depth)
    assert_within(c[:, :columns], expected, bound)
    for first in range(0, columns, 64):
        some = slice(first, min(first + 64, columns))
        part, alone = padded(init[:, some]), padded(b[:, some])
        product(part, part.copy(), part.shape[1], a, depth, ADJACENT, alone, some.stop - first, depth)
        assert_same_bits(part[:, : some.stop - first], c[:, some])


def test_matmul_above_is_matmul_and_a_floor(dtype, rng):
    """NaN is not below it."""
    for rows in ROWS:
        for columns in [1, 17, 33, 49]:
            a, b, init, *_ = operands(rng, rows, columns, 5, dtype)
            init[0, 0] = np.nan
            start, floor = padded(init), dtype.type(0.25)
            width = start.shape[1]
            below, above = np.empty_like(start), np.empty_like(start)
            product(below, start, width, a, 5, ADJACENT, padded(b), columns, 5)
            product_above(above, start, width, ADJACENT, a, 5, ADJACENT, padded(b), columns, 5, floor)
            assert np.isnan(above[0, 0])
            assert_same_bits(above[:, :columns], np.where(below < floor, floor, below)[:, :columns])


def test_what_sums_start_from(dtype, rng):
    """A matrix, one row for all rows, one number for each row, or the output itself."""
    for rows in ROWS:
        a, b, init, expected, bound = operands(rng, rows, 49, 7, dtype)
        b, none = padded(b), dtype.type(-np.inf)
        by_row, by_column = padded(np.repeat(init[:1], rows, axis=0)), padded(np.repeat(init[:, :1], 49, axis=1))
        width = b.shape[1]
        for start, first, row, n in (
            (by_row, padded(init[:1]), SAME, ADJACENT),
            (by_column, init[:, 0].copy(), ADJACENT, SAME),
        ):
            one, many = np.empty_like(start), np.empty_like(start)
            product_above(one, first.reshape(1, -1), row, n, a, 7, ADJACENT, b, 49, 7, none)
            product(many, start, width, a, 7, ADJACENT, b, 49, 7)
            assert_same_bits(one[:, :49], many[:, :49])
        c = padded(init)
        product(c, c, width, a, 7, ADJACENT, b, 49, 7)
        assert_within(c[:, :49], expected, bound)


def test_matmul_of_depth_zero_copies_init(dtype, rng):
    init = padded(normal(rng, (3, 5), dtype))
    c = np.full_like(init, np.nan)
    product(c, init, init.shape[1], np.empty((3, 1), dtype), ADJACENT, ADJACENT, np.empty((0, init.shape[1]), dtype), 5, 0)
    assert_same_bits(c[:, :5], init[:, :5])


def test_matmul_of_a_row_does_not_depend_on_its_tile(dtype, rng):
    rows = 2 * TILE_ROWS + 3
    a, b, init, *_ = operands(rng, rows, 49, 31, dtype)
    start, b = padded(init), padded(b)
    together = np.empty_like(start)
    product(together, start, start.shape[1], a, 31, ADJACENT, b, 49, 31)
    for row in range(rows):
        alone = np.empty_like(start[:1])
        product(alone, start[row : row + 1].copy(), start.shape[1], a[row : row + 1].copy(), 31, ADJACENT, b, 49, 31)
        assert_same_bits(alone[0, :49], together[row, :49])


def test_an_entry_is_one_chain_over_k_that_may_be_cut(dtype, rng):
    """A product in two parts of k, the second from where the first has stopped, has the bits of the whole."""
    a, b, init, *_ = operands(rng, 9, 17, 31, dtype)
    start, b = padded(init), padded(b)
    whole, parts = np.empty_like(start), start.copy()
    product(whole, start, start.shape[1], a, 31, ADJACENT, b, 17, 31)
    for first, last in ((0, 5), (5, 31)):
        part = np.ascontiguousarray(a[:, first:last])
        product(parts, parts, start.shape[1], part, last - first, ADJACENT, b[first:last], 17, last - first)
    assert_same_bits(parts[:, :17], whole[:, :17])


@pytest.mark.parametrize("more", [1, 2 * DEPTH_OF_BLOCK - 1])
def test_a_product_of_a_depth_that_is_cut_is_that_of_its_parts_and_a_floor_at_the_end(more, dtype, rng):
    """Starting from a row, with A as it lies and transposed; what is below the floor on the way is not lifted."""
    depth = small(DEPTH_AT_ONCE, 2 * DEPTH_OF_BLOCK) + more
    rows, columns = FAR_ROWS + 3, FAR // depth + 9
    a, b, init, *_ = operands(rng, rows, columns, depth, dtype)
    first, b, floor = padded(init[:1]), padded(b), dtype.type(0.25)
    width = b.shape[1]
    assert depth * width > FAR
    whole, turned = np.empty((rows, width), dtype), np.empty((rows, width), dtype)
    product_above(whole, first, SAME, ADJACENT, a, depth, ADJACENT, b, columns, depth, floor)
    product_above(turned, first, SAME, ADJACENT, np.ascontiguousarray(a.T), ADJACENT, rows, b, columns, depth, floor)
    parts = np.repeat(first, rows, axis=0)
    for begin in range(0, depth, DEPTH_OF_BLOCK):
        part = np.ascontiguousarray(a[:, begin : begin + DEPTH_OF_BLOCK])
        here = part.shape[1]
        product(parts, parts, width, part, here, ADJACENT, b[begin : begin + here], columns, here)
    assert (parts[:, :columns] < floor).any()
    assert_same_bits(whole[:, :columns], np.where(parts < floor, floor, parts)[:, :columns])
    assert_same_bits(turned[:, :columns], whole[:, :columns])


def test_matmul_writes_nothing_beyond_its_rows_and_columns(dtype, rng):
    a, b, init, *_ = operands(rng, 9, 17, 3, dtype)
    b, start = padded(b), padded(init)
    room = np.full((11, start.shape[1]), 7, dtype)
    product(room[:9], start, start.shape[1], a, 3, ADJACENT, b, 1, 3)
    line = 64 // dtype.itemsize
    assert (room[9:] == 7).all()
    assert (room[:9, line:] == 7).all()
