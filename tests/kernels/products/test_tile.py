from __future__ import annotations

import numpy as np
from helpers import assert_within, eps, jit, normal

from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_ROWS
from fastmlp.kernels.products.tile import EDGE_ROWS, WIDTHS, tile


@jit
def call(rows, tiles, halves, c, init, init_n, a, b, depth, asks, floor):
    """Some tiles of the family, for Python."""
    c_row, init_row, a_k, b_row = c.shape[1], init.shape[1], a.shape[1], b.shape[1]
    tile(rows, halves, c, 1, c_row, init, 2, init_row, init_n, a, 3, 1, a_k, b, 4, b_row, depth, asks, floor, tiles)


def test_tiles_match_reference(dtype, rng):
    """Each matrix begins at another offset; A is read down its columns; sums start from a matrix or from a number a row."""
    for height, tiles, depth, asks in ((TILE_ROWS, 1, 5, 1), (EDGE_ROWS, 1, 5, 0), (TILE_ROWS, 3, 11, 0), (TILE_ROWS, 1, 3, 0)):
        rows = tiles * height
        for halves in WIDTHS:
            width = halves * REGISTER_BYTES // 2 // dtype.itemsize
            written = 2 * width if halves == 1 else width
            init = normal(rng, (rows, width + 3), dtype)
            a, b = normal(rng, (depth, rows + 4), dtype), normal(rng, (depth, width + 4), dtype)
            for init_n in (1, 0):
                c = np.full((rows, written + 3), 7, dtype)
                call(height, tiles, halves, c, init, init_n, a, b, depth, asks, dtype.type(0.5))
                start = init[:, 2 : 2 + width] if init_n else np.repeat(init[:, 2:3], width, axis=1)
                used = [np.float64(x) for x in (start, a[:, 3 : 3 + rows].T, b[:, 4 : 4 + width])]
                bound = (depth + 1) * eps(dtype) * (np.abs(used[0]) + np.abs(used[1]) @ np.abs(used[2]))
                assert_within(c[:, 1 : 1 + width], np.maximum(0.5, used[0] + used[1] @ used[2]), bound)
                assert (c[:, 0] == 7).all()
                assert (c[:, 1 + width : 1 + written] == 0).all()
                assert (c[:, 1 + written :] == 7).all()
