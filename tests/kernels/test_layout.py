from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_VECTORS
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES, LINE_BYTES, lanes_per_line, row_stride, whole_lines, zeros

WIDTHS = [*range(1, 70), 127, 128, 129, 255, 256, 257, 511, 512, 513, 1024]


def test_lanes_per_line():
    assert lanes_per_line(np.float32) == 16
    assert lanes_per_line(np.float64) == 8


def test_row_stride_is_the_fewest_whole_lines(dtype):
    for width in WIDTHS:
        stride = row_stride(width, dtype)
        size = stride * dtype.itemsize
        assert stride >= width
        assert size % LINE_BYTES == 0
        # Long rows have an odd number of lines, and never two more than they need.
        assert (stride - width) * dtype.itemsize < LINE_BYTES * (2 if size >= 1024 else 1)
        assert size < 1024 or size // LINE_BYTES % 2 == 1


def test_whole_lines_is_the_next_multiple(dtype):
    assert whole_lines(0, dtype) == 0
    for size in WIDTHS:
        assert whole_lines(size, dtype) == next(n for n in range(size, size + 17) if n * dtype.itemsize % LINE_BYTES == 0)


def test_zeros_is_aligned_and_zero(dtype):
    for size in [0, 1, 16, 1000] * 5:
        array = zeros(size, dtype)
        assert array.shape == (size,)
        assert array.dtype == dtype
        assert not array.any()
        assert size == 0 or array.ctypes.data % LINE_BYTES == 0
        assert array.flags.writeable
        assert array.flags.c_contiguous


def test_rows_along_the_vectors_take_whole_vectors_and_fit_into_a_block():
    assert FEATURE_MAJOR_BYTES == TILE_VECTORS * REGISTER_BYTES
    assert FEATURE_MAJOR_BYTES // 4 <= 64
