"""Softmax and its logarithm through a program of one op, against NumPy in long double."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import ROWS, assert_same_bits, assert_within, eps, kept_job, normal, ran_both_ways, run_job, small

from fastmlp.kernels.blocks.softmax import Softmax
from fastmlp.kernels.layout import row_stride
from fastmlp.program import Program

WIDTHS = small([1, 2, 7, 15, 16, 17, 31, 33, 129], [1, 7, 17])


@pytest.mark.parametrize("logarithm", [False, True])
def test_softmax_matches_reference(logarithm, dtype, rng):
    for rows, width, scale in itertools.product(ROWS[::2], WIDTHS, (1, 30)):
        x, dy = scale * normal(rng, (rows, width), dtype), normal(rng, (rows, width), dtype)
        x = x.astype(dtype)
        ran = ran_both_ways([Softmax(width, logarithm)], x, dy)
        wide = x.astype(np.longdouble) - x.max(1, keepdims=True).astype(np.longdouble)
        log = wide - np.log(np.exp(wide).sum(1, keepdims=True))
        y, terms = np.exp(log), (width + 8) * eps(dtype)
        sums = (dy * (1 if logarithm else y)).sum(1, keepdims=True)
        dx = dy - y * sums if logarithm else y * (dy - sums)
        size = np.abs(dy).sum(1, keepdims=True) * (1 + np.abs(wide)) * (y + eps(dtype))
        least = float(np.finfo(dtype).tiny)  # smaller results are flushed to zero
        assert_within(ran.y, log if logarithm else y, terms * (np.abs(log) + 1) * (1 if logarithm else y) + least)
        assert_within(ran.dx, dx, 2 * terms * ((np.abs(dy) + size) if logarithm else size + y * np.abs(dy)) + least)


@pytest.mark.parametrize("logarithm", [False, True])
def test_what_lies_behind_a_row_has_no_part(logarithm, dtype, rng):
    for width in (1, 3, 17):
        x, dy = normal(rng, (5, width), dtype), normal(rng, (5, width), dtype)
        clean = ran_both_ways([Softmax(width, logarithm)], x, dy)
        program = Program.both_ways([Softmax(width, logarithm)], dtype, batch=5)
        job, record = kept_job(program, dtype), program.records[1]
        stride = row_stride(width, dtype)
        padding = [
            job.work[offset : offset + 5 * stride].reshape(5, stride)[:, width:] for offset in (record.x, record.y, record.dx)
        ]
        padding[0][...] = np.nan
        y, dx = np.empty_like(x), np.empty_like(x)
        run_job(job, x, y)
        padding[1][...] = 1  # as a linear layer behind it does
        run_job(job, dx, dy.copy(), number=1)
        assert_same_bits(y, clean.y)
        assert_same_bits(dx, clean.dx)
        assert not padding[2].any(), "a product reads it"
