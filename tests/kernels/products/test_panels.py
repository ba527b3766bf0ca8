"""Columns and rows of a matrix, copied side by side."""

from __future__ import annotations

import numpy as np
from helpers import COLUMNS, assert_same_bits, jit, lanes, normal, padded

from fastmlp.kernels.products.panels import PANEL_BYTES, copy_panel, transpose_panel


@jit
def copied(target, target_at, source, source_at, stride, rows, columns):
    copy_panel(target, target_at, source, source_at, stride, rows, columns)


@jit
def transposed(target, target_at, source, source_at, stride, zero, rows, columns):
    transpose_panel(target, target_at, source, source_at, stride, zero, rows, columns)


def width_of(dtype):
    return int(PANEL_BYTES) // dtype.itemsize


def test_columns_come_to_lie_side_by_side(dtype, rng):
    """From an entry on, as many as a panel has or less; what is written beyond them, to whole vectors, is the matrix's own."""
    width = width_of(dtype)
    source = padded(normal(rng, (5, 3 * width + 1), dtype))
    stride = source.shape[1]
    for first in (0, width, 2 * width):
        for columns in range(1, width + 1):
            target = np.full(7 * width, 7, dtype)
            copied(target, width, source.reshape(-1), first, stride, 5, columns)
            panel = target.reshape(7, width)
            assert_same_bits(panel[1:6, :columns], source[:, first : first + columns])
            assert (panel[[0, 6]] == 7).all()
            beyond = panel[1:6, columns:]
            here = source[:, first : first + width][:, columns:]
            assert ((beyond == 7) | (beyond == here[:, : beyond.shape[1]])).all()


def test_rows_come_to_lie_side_by_side_transposed(dtype, rng):
    """As many as a panel is wide, or less: then there are zeros. Columns in whole lines."""
    width, line = width_of(dtype), lanes(dtype)
    zero = np.zeros(line, dtype)
    for rows in (1, 2, 7, 8, 9, width - 1, width):
        for columns in COLUMNS:
            source = padded(normal(rng, (rows + 2, columns), dtype))
            stride, lines = source.shape[1], -(-columns // line) * line
            target = np.full((lines + 2) * width, 7, dtype)
            transposed(target, width, source.reshape(-1), stride, stride, zero, rows, columns)
            panel = target.reshape(lines + 2, width)
            assert_same_bits(panel[1 : columns + 1, :rows], source[1 : rows + 1, :columns].T)
            assert not panel[1 : lines + 1, rows:].any()
            assert (panel[[0, -1]] == 7).all()
