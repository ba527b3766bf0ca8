from __future__ import annotations

import numpy as np
from helpers import assert_within, eps, jit, normal

from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_ROWS
from fastmlp.kernels.products.tile import EDGE_ROWS, WIDTHS, tile


@jit
def call(rows, halves, c, init, init_n, a, b, depth, floor):
    """One tile of the family, for Python."""
    tile(rows, halves, c, 1, c.shape[1], init, 2, init.shape[1], init_n, a, 3, 1, rows + 4, b, 4, b.shape[1], depth, floor)


def test_tiles_match_reference(dtype, rng):
    """Each matrix begins at another offset; A is read down its columns; sums start from a matrix or from a number a row."""
    depth = 5
    for rows in (TILE_ROWS, EDGE_ROWS):
        for halves in WIDTHS:
            width = halves * REGISTER_BYTES // 2 // dtype.itemsize
            written = 2 * width if halves == 1 else width
            init = normal(rng, (rows, width + 3), dtype)
            a, b = normal(rng, (depth, rows + 4), dtype), normal(rng, (depth, width + 4), dtype)
            for init_n in (1, 0):
                c = np.full((rows, written + 3), 7, dtype)
                call(rows, halves, c, init, init_n, a, b, depth, dtype.type(0.5))
                start = init[:, 2 : 2 + width] if init_n else np.repeat(init[:, 2:3], width, axis=1)
                used = [np.float64(x) for x in (start, a[:, 3 : 3 + rows].T, b[:, 4 : 4 + width])]
                bound = (depth + 1) * eps(dtype) * (np.abs(used[0]) + np.abs(used[1]) @ np.abs(used[2]))
                assert_within(c[:, 1 : 1 + width], np.maximum(0.5, used[0] + used[1] @ used[2]), bound)
                assert (c[:, 0] == 7).all()
                assert (c[:, 1 + width : 1 + written] == 0).all()
                assert (c[:, 1 + written :] == 7).all()
