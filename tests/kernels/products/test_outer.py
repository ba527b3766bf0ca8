"""The product of a column and a row: the same bits as the tile's, for any number of vectors, and not beyond them."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import COLUMNS, JIT, assert_same_bits, jit, normal

from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.layout import row_stride
from fastmlp.kernels.products.matmul import ADJACENT, matmul_above
from fastmlp.kernels.products.outer import OUTER_VECTORS, outer


@jit
def by_outer(c, c_row, init, init_row, a, rows, b, columns):
    outer(c, 8, c_row, init, 2, init_row, a, 3, rows, b, 5, columns)


@jit
def by_tile(c, init, init_row, a, b, columns, floor):
    matmul_above(c, init, init_row, ADJACENT, a, ADJACENT, ADJACENT, b, columns, 1, floor)


@pytest.mark.parametrize("own", [False, True])
def test_the_product_of_a_column_and_a_row_is_that_of_the_tile(dtype, own):
    rng = np.random.default_rng(0)
    lanes = REGISTER_BYTES // np.dtype(dtype).itemsize
    strips = [lanes * OUTER_VECTORS + 1, 2 * lanes * OUTER_VECTORS + 3 * lanes] if JIT else []
    for columns in (*COLUMNS, *strips):
        for rows in (0, 1, 2, 26):
            stride = row_stride(columns, dtype)
            written = -(-columns // lanes) * lanes
            init_row = stride if own else 0
            init, a, b = (normal(rng, size, dtype) for size in (2 + max(1, rows) * stride, 3 + rows, 5 + stride))
            a[3 + rows // 2 :] = 0  # -0 + 0 is 0
            c, expected = np.full(8 + rows * stride + 1, 7, dtype), np.zeros((rows, stride), dtype)
            by_outer(c, stride, init, init_row, a, rows, b, columns)
            start, line = init[2:].copy().reshape(1, -1), b[5:].reshape(1, -1)
            by_tile(expected, start, init_row, a[3:].copy(), line, columns, dtype.type(-np.inf))
            found = c[8 : 8 + rows * stride].reshape(rows, stride)
            assert_same_bits(found[:, :columns].copy(), expected[:, :columns].copy())
            assert (found[:, written:] == 7).all()
            assert (c[:8] == 7).all()
            assert c[-1] == 7


def test_it_adds_to_what_there_is(dtype):
    c, a, b = np.zeros(8 + 16, dtype), np.full(4, 2, dtype), np.full(5 + 16, 3, dtype)
    c[8:] = np.arange(16)
    by_outer(c, 16, c[6:], 16, a, 1, b, 16)
    assert c[8:].tolist() == [6.0 + i for i in range(16)]
    assert not c[:8].any()
