"""How a matrix lies in memory: rows of whole 64-byte lines."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_VECTORS

__all__ = ["FEATURE_MAJOR_BYTES", "LINE_BYTES", "lanes_per_line", "row_stride", "whole_lines", "zeros"]

LINE_BYTES = 64

#: What a feature takes where the rows of a batch lie along the vectors: the width of a tile.
FEATURE_MAJOR_BYTES = TILE_VECTORS * REGISTER_BYTES


def lanes_per_line(dtype: np.dtype) -> int:
    """Numbers of `dtype` in one line: 16 float32, 8 float64."""
    return LINE_BYTES // np.dtype(dtype).itemsize


def whole_lines(size: int, dtype: np.dtype) -> int:
    """`size`, rounded up to whole lines."""
    lanes = lanes_per_line(dtype)
    return -(-size // lanes) * lanes


def row_stride(width: int, dtype: np.dtype) -> int:
    """Entries from one row of a matrix to the next.

    Rows of 1 KiB or more get an odd number of lines: with a power of two, the rows that a tile reads together would fall
    into the same few sets of the cache.
    """
    lanes = lanes_per_line(dtype)
    lines = -(-width // lanes)
    if lines * LINE_BYTES >= 1024:
        lines |= 1
    return lines * lanes


def zeros(size: int, dtype: np.dtype) -> np.ndarray:
    """A flat array of `size` zeros that begins on a line."""
    dtype = np.dtype(dtype)
    raw = np.zeros(size * dtype.itemsize + LINE_BYTES, np.uint8)
    start = -raw.ctypes.data % LINE_BYTES
    return raw[start : start + size * dtype.itemsize].view(dtype)
