from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_within, eps, jit, normal

from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_ROWS
from fastmlp.kernels.products import tile

SHAPES = {f"{rows}x{vectors}": (rows, vectors) for rows in (TILE_ROWS, tile.EDGE_ROWS) for vectors in (1, 2, 3)}


@pytest.mark.parametrize("name", SHAPES)
def test_tile_matches_reference(name, dtype, rng):
    rows, vectors = SHAPES[name]
    one = getattr(tile, f"{'tall' if rows == TILE_ROWS else 'edge'}_{vectors}")
    width, depth = vectors * REGISTER_BYTES // dtype.itemsize, 5

    @jit
    def call(c, init, a, b, floor):
        one(c, 1, c.shape[1], init, 2, init.shape[1], a, 3, 1, rows + 4, b, 4, b.shape[1], depth, floor)

    # Each matrix begins at another offset; A is read down its columns.
    c, init = np.full((rows, width + 3), 7, dtype), normal(rng, (rows, width + 3), dtype)
    a, b = normal(rng, (depth, rows + 4), dtype), normal(rng, (depth, width + 4), dtype)
    call(c, init, a, b, dtype.type(0.5))
    used = [np.float64(x) for x in (init[:, 2 : 2 + width], a[:, 3 : 3 + rows].T, b[:, 4 : 4 + width])]
    bound = (depth + 1) * eps(dtype) * (np.abs(used[0]) + np.abs(used[1]) @ np.abs(used[2]))
    assert_within(c[:, 1 : 1 + width], np.maximum(0.5, used[0] + used[1] @ used[2]), bound)
    assert (c[:, 0] == 7).all()
    assert (c[:, 1 + width :] == 7).all()
