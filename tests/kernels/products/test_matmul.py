from __future__ import annotations

import numpy as np
import pytest
from helpers import COLUMNS, ROWS, assert_same_bits, assert_within, eps, jit, normal, padded

from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.products.matmul import ADJACENT, SAME, clear_unwritten, matmul, matmul_above
from fastmlp.kernels.products.tile import TILE_ROWS

DEPTHS = [1, 2, 31]


@jit
def product(c, init, init_row, a, a_row, a_k, b, columns, depth):
    matmul(c, init, init_row, a, a_row, a_k, b, columns, depth)


@jit
def product_above(c, init, init_row, a, a_row, a_k, b, columns, depth, floor):
    matmul_above(c, init, init_row, a, a_row, a_k, b, columns, depth, floor)


def operands(rng, rows, columns, depth, dtype):
    a, b, init = (normal(rng, shape, dtype) for shape in ((rows, depth), (depth, columns), (rows, columns)))
    wide = [x.astype(np.float64) for x in (a, b, init)]
    expected = wide[2] + wide[0] @ wide[1]
    bound = (depth + 1) * eps(dtype) * (np.abs(wide[2]) + np.abs(wide[0]) @ np.abs(wide[1]))
    return a, b, init, expected, bound


@pytest.mark.parametrize("columns", COLUMNS)
@pytest.mark.parametrize("rows", ROWS)
def test_matmul_matches_reference(rows, columns, dtype, rng):
    for depth in DEPTHS:
        a, b, init, expected, bound = operands(rng, rows, columns, depth, dtype)
        start = padded(init)
        c = np.full_like(start, np.nan)
        product(c, start, start.shape[1], a, depth, ADJACENT, padded(b), columns, depth)
        assert_within(c[:, :columns], expected, bound)


@pytest.mark.parametrize("columns", [1, 17, 33, 49])
@pytest.mark.parametrize("rows", ROWS)
def test_matmul_above_is_matmul_and_a_floor(rows, columns, dtype, rng):
    a, b, init, *_ = operands(rng, rows, columns, 5, dtype)
    init[0, 0] = np.nan
    start, floor = padded(init), dtype.type(0.25)
    below, above = np.empty_like(start), np.empty_like(start)
    product(below, start, start.shape[1], a, 5, ADJACENT, padded(b), columns, 5)
    product_above(above, start, start.shape[1], a, 5, ADJACENT, padded(b), columns, 5, floor)
    assert np.isnan(above[0, 0])
    assert_same_bits(above[:, :columns], np.where(below < floor, floor, below)[:, :columns])


@pytest.mark.parametrize("columns", [1, 17, 49])
@pytest.mark.parametrize("rows", ROWS)
def test_matmul_of_transposed_matrix_is_the_same(rows, columns, dtype, rng):
    a, b, init, *_ = operands(rng, rows, columns, 5, dtype)
    start = padded(init)
    straight, transposed = np.empty_like(start), np.empty_like(start)
    turned = np.ascontiguousarray(a.T)
    product(straight, start, start.shape[1], a, 5, ADJACENT, padded(b), columns, 5)
    product(transposed, start, start.shape[1], turned, ADJACENT, rows, padded(b), columns, 5)
    assert_same_bits(straight[:, :columns], transposed[:, :columns])


@pytest.mark.parametrize("rows", ROWS)
def test_matmul_broadcasts_one_row_of_init(rows, dtype, rng):
    a, b, init, *_ = operands(rng, rows, 17, 3, dtype)
    one, many = padded(init[:1]), padded(np.repeat(init[:1], rows, axis=0))
    first, second = np.empty_like(many), np.empty_like(many)
    product(first, one, SAME, a, 3, ADJACENT, padded(b), 17, 3)
    product(second, many, many.shape[1], a, 3, ADJACENT, padded(b), 17, 3)
    assert_same_bits(first[:, :17], second[:, :17])


@pytest.mark.parametrize("rows", ROWS)
def test_matmul_accumulates_onto_its_own_output(rows, dtype, rng):
    a, b, init, expected, bound = operands(rng, rows, 49, 7, dtype)
    c = padded(init)
    product(c, c, c.shape[1], a, 7, ADJACENT, padded(b), 49, 7)
    assert_within(c[:, :49], expected, bound)


def test_matmul_of_depth_zero_copies_init(dtype, rng):
    init = padded(normal(rng, (3, 5), dtype))
    c = np.full_like(init, np.nan)
    product(c, init, init.shape[1], np.empty((3, 1), dtype), ADJACENT, ADJACENT, np.empty((0, init.shape[1]), dtype), 5, 0)
    assert_same_bits(c[:, :5], init[:, :5])


@pytest.mark.parametrize("columns", [1, 17, 65])
def test_matmul_keeps_padding_zero(columns, dtype, rng):
    a, b, init, *_ = operands(rng, 9, columns, 3, dtype)
    c = np.zeros_like(padded(init))
    product(c, padded(init), c.shape[1], a, 3, ADJACENT, padded(b), columns, 3)
    assert not c[:, columns:].any()
    assert c[:, :columns].all()


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


def test_matmul_writes_nothing_beyond_its_rows_and_columns(dtype, rng):
    a, b, init, *_ = operands(rng, 9, 17, 3, dtype)
    b, start = padded(b), padded(init)
    room = np.full((11, start.shape[1]), 7, dtype)
    product(room[:9], start, start.shape[1], a, 3, ADJACENT, b, 1, 3)
    line = 64 // dtype.itemsize
    assert (room[9:] == 7).all()
    assert (room[:9, line:] == 7).all()


@pytest.mark.parametrize("columns", [1, 16, 17, 31])
def test_clear_unwritten_leaves_what_a_product_writes(columns, dtype):
    c = np.full((3, 64), 7, dtype)
    jit(lambda c, columns: clear_unwritten(c, columns))(c, columns)  # noqa: PLW0108 (one that Python may call)
    lanes = REGISTER_BYTES // c.itemsize
    written = -(-columns // lanes) * lanes
    assert (c[:, :written] == 7).all()
    assert not c[:, written:].any()
