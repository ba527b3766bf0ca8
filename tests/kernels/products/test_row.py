"""The product of one row: the same bits as the tile's, for any number of vectors, and not beyond them."""

from __future__ import annotations

import numpy as np
from helpers import COLUMNS, JIT, assert_same_bits, jit, normal

from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.layout import row_stride, zeros
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul_above
from fastmlp.kernels.products.row import ROW_VECTORS, row_above


@jit
def by_row(c, init, a, b, b_row, columns, depth, floor):
    row_above(c, 8, init, 2, a, 3, b, 5 * b_row, b_row, columns, depth, floor)


@jit
def by_tile(c, init, a, b, columns, depth, floor):
    matmul_above(c, init, SAME, ADJACENT, a, SAME, ADJACENT, b, columns, depth, floor)


def test_a_row_is_that_of_the_tile(dtype):
    rng = np.random.default_rng(0)
    lanes = REGISTER_BYTES // np.dtype(dtype).itemsize
    strips = [lanes * ROW_VECTORS + 1, 2 * lanes * ROW_VECTORS + 3 * lanes] if JIT else []
    for columns in (*COLUMNS, *strips):
        for depth in (0, 1, 5, 64):
            for floor in (0.0, -np.inf):
                stride = row_stride(columns, dtype)
                b = zeros((5 + depth) * stride, dtype)
                b[5 * stride :].reshape(depth, stride)[:, :columns] = normal(rng, (depth, columns), dtype)
                init, a = normal(rng, 2 + stride, dtype), normal(rng, 3 + depth, dtype)
                c, expected = np.full(8 + stride + 1, 7, dtype), np.zeros((1, stride), dtype)
                by_row(c, init, a, b, stride, columns, depth, dtype.type(floor))
                by_tile(
                    expected,
                    init[2:].reshape(1, -1),
                    a[3:].reshape(1, -1),
                    b[5 * stride :].reshape(-1, stride),
                    columns,
                    depth,
                    dtype.type(floor),
                )
                assert_same_bits(c[8 : 8 + columns], expected[0, :columns])
                assert (c[:8] == 7).all()
                assert (c[8 + -(-columns // lanes) * lanes :] == 7).all()


def test_nan_is_not_below_the_floor(dtype):
    width = row_stride(3, dtype)
    c, init, b = np.zeros(8 + width, dtype), np.full(2 + width, np.nan, dtype), np.ones(8 * width, dtype)
    init[3:5] = -1, 2
    by_row(c, init, np.ones(4, dtype), b, width, 3, 0, dtype.type(0))
    assert np.isnan(c[8])
    assert c[9:11].tolist() == [0, 2]
