"""The one matrix product: C = max(floor, init + A B), in tiles.

It serves a layer's three products. A is read one scalar at a time through two strides, so that ``x`` and its transpose are
the same code; B, C and init are read in whole vectors.
"""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.caches import level_2_bytes
from fastmlp.kernels.compiler.intrinsics import itemsize_of, least
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_VECTORS
from fastmlp.kernels.layout import LINE_BYTES
from fastmlp.kernels.products.prefetch import prefetch_strip
from fastmlp.kernels.products.tile import EDGE_ROWS, HALVES, TILE_ROWS, TURNS, tile

__all__ = ["ADJACENT", "SAME", "matmul", "matmul_above"]

# Strides. Typed numbers, since Numba compiles a function anew for every literal that it is called with.
SAME, ADJACENT = np.int64(0), np.int64(1)

#: The heights of tiles.
TALL, EDGE = np.int64(TILE_ROWS), np.int64(EDGE_ROWS)

#: A matrix B of more entries is not in the second-level cache when its turn comes, and the first tile of a strip would wait for
#: memory row by row; so while tiles go down one strip, each asks for some rows of the next one. A step of
#: 1024-1024-1024-1024 at batch 512 went 84 -> 90 GFLOP/s on one core of a Zen 4 (peak 115) with AVX2, where a row of B takes
#: six cycles, and 101 -> 104 with AVX-512.
FAR = np.int64(2**17)

#: Whether a tall tile has four rows. By one vector that is four chains of multiply-adds, each of which waits four cycles for
#: the one before: half of what the two units could do. So four vectors are taken as two and two, not as three and one: 26 rows
#: of 25, of 100 products each, took 2230 ns, so 1920, 100 rows of 25 x 25 2145, so 1980 (Zen 3).
SMALL_TILES = TILE_ROWS < 8

#: Fewer rows are too few tiles to ask for a strip.
FAR_ROWS = np.int64(32)

#: What a tile brings in of a row of B: whole lines.
STRIP_BYTES = -(-TILE_VECTORS * REGISTER_BYTES // LINE_BYTES) * LINE_BYTES

#: Where a strip of B, in whole lines, takes more than a quarter of the second-level cache, it and the next one leave no room
#: for A there: then some rows of B are taken at a time, with what has been summed so far in C. With 512 KiB 128 x 2048 x 2048
#: took 17.8 ms in one go, 13.0 by 1024 rows, 12.6 by 512 and 11.9 by 256 (Zen 3); 128 x 1024 x 1024 in one go 2.8, by 256 rows
#: 2.9. A tile of eight rows reads B a quarter as fast.
DEPTH_AT_ONCE = np.int64(level_2_bytes() // 4 // STRIP_BYTES)
DEPTH_OF_BLOCK = DEPTH_AT_ONCE // 4

#: So many rows of a strip stay in the first-level cache, 32 KiB of lines. Behind its first tile nobody asks for them again, nor
#: for those of a matrix of so many bytes, which are there; nor for rows side by side, which the processor's prefetcher follows.
DEPTH_NEAR = np.int64(2**15 // STRIP_BYTES)
NEAR_BYTES = np.int64(2**14)


@inner
def matmul(c, init, init_row, a, a_row, a_k, b, columns, depth):
    """:func:`matmul_above` without a floor."""
    matmul_above(c, init, init_row, ADJACENT, a, a_row, a_k, b, columns, depth, c.dtype.type(-np.inf))


@inner
def matmul_above(c, init, init_row, init_n, a, a_row, a_k, b, columns, depth, floor):
    """``c[m, n] = max(floor, init[m, n] + sum over k < depth of a[m, k] * b[k, n])``, all rows of `c` and n < `columns`.

    c        (M, padded N)  out
    init     in             what the sums start from: element (m, n) at ``m * init_row + n * init_n``; a bias (0, 1), with the
                            rows of the batch along n (1, 0), or c itself (its width, 1)
    a        in             element (m, k) at ``m * a_row + k * a_k`` of the flat array
    b        (depth, padded N)  in
    floor    0 for a ReLU, minus infinity for none; NaN is not below it
    columns  N; whole vectors are computed, so c has numbers beyond N: zeros where b and init have

    2 M N K flops. Strips of three vectors outermost: a strip of B stays in the cache while all of A goes past it.
    """
    rows, c_row = c.shape
    b_row = b.shape[1]
    if rows >= FAR_ROWS and depth * b_row > FAR:
        matmul_far(c, init, init_row, init_n, a, a_row, a_k, b, columns, depth, floor)
        return
    lanes = REGISTER_BYTES // itemsize_of(c)
    vectors = (columns + lanes - 1) // lanes
    tall = rows // TILE_ROWS * TILE_ROWS
    near, there = nearness(b, depth)
    done = np.int64(0)
    while done < vectors:
        j = done * lanes
        strip, wide = strip_of(vectors - done, columns - j, lanes)
        init_j, i = j * init_n, np.int64(0)
        while i < tall:  # all at once, or the first one alone, which asks for what the others find there
            ask = 0 if there or (near and i > 0) else 1
            tiles = 1 if near and ask == 1 else (tall - i) // TILE_ROWS
            at, i_at, a_at = j + i * c_row, init_j + i * init_row, i * a_row
            row, step, down = c_row, init_row, a_row
            tile(TALL, wide, c, at, row, init, i_at, step, init_n, a, a_at, down, a_k, b, j, b_row, depth, ask, floor, tiles)
            i += tiles * TILE_ROWS
        while i < rows:  # pairs; then the odd last row, computed twice, into the same place
            pairs = (rows - i) // EDGE_ROWS
            pair, tiles = (1, pairs) if pairs > 0 else (0, 1)
            at, i_at, a_at = j + i * c_row, init_j + i * init_row, i * a_row
            row, step, down = pair * c_row, pair * init_row, pair * a_row
            tile(EDGE, wide, c, at, row, init, i_at, step, init_n, a, a_at, down, a_k, b, j, b_row, depth, 0, floor, tiles)
            i += tiles * EDGE_ROWS
        done += strip


@inner
def matmul_far(c, init, init_row, init_n, a, a_row, a_k, b, columns, depth, floor):
    """:func:`matmul_above` where B is far away: some rows of it at a time, and tiles that ask for the strip behind theirs."""
    rows, c_row = c.shape
    b_row = b.shape[1]
    lanes = REGISTER_BYTES // itemsize_of(c)
    vectors = (columns + lanes - 1) // lanes
    k, at_once = np.int64(0), depth
    if SMALL_TILES and depth > DEPTH_AT_ONCE:
        at_once = depth // (depth // DEPTH_OF_BLOCK) + 1
    while True:
        here = least(at_once, depth - k)
        top = floor if k + here == depth else c.dtype.type(-np.inf)
        some = here // (rows // TILE_ROWS) + 1
        near, there = nearness(b, here)
        done = 0
        while done < vectors:
            j = done * lanes
            strip, wide = strip_of(vectors - done, columns - j, lanes)
            i, asked = 0, 0
            b_at = k * b_row + j
            while i < rows:
                if asked < here and done + strip < vectors:
                    prefetch_strip(b, b_at + asked * b_row + strip * lanes, b_row, least(some, here - asked))
                    asked += some
                at, i_at, a_at = i * c_row + j, i * init_row + j * init_n, i * a_row + k * a_k
                tall = i + TILE_ROWS <= rows
                high = TALL if tall else EDGE
                ask = 0 if there or (near and i > 0) else 1
                pair = 1 if tall or i + EDGE_ROWS <= rows else 0
                row, step, down = pair * c_row, pair * init_row, pair * a_row
                tile(high, wide, c, at, row, init, i_at, step, init_n, a, a_at, down, a_k, b, b_at, b_row, here, ask, top, 1)
                i += high
            done += strip
        k += here
        if k >= depth:
            break
        init, init_row, init_n = c, c_row, ADJACENT


@inner
def nearness(b, depth):
    """Whether a strip of B is in the first-level cache behind its first tile, and whether it is before that."""
    b_row, itemsize = b.shape[1], itemsize_of(b)
    beside = b_row <= TILE_VECTORS * (REGISTER_BYTES // itemsize)
    near = TURNS > 1 and (beside or depth <= DEPTH_NEAR)
    return near, near and (beside or depth * b_row * itemsize <= NEAR_BYTES)


@inner
def strip_of(vectors, columns, lanes):
    """How wide the next strip is, of the vectors and columns that are left: in vectors, and in halves of one for its tiles."""
    strip = TILE_VECTORS - 1 if SMALL_TILES and vectors == TILE_VECTORS + 1 else least(TILE_VECTORS, vectors)
    return strip, 1 if HALVES and columns <= lanes // 2 else 2 * strip
