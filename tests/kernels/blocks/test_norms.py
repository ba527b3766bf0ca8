"""Norms through a program of one op, against NumPy in long double."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import ROWS, assert_same_bits, assert_within, eps, kept_job, lanes, normal, ran_both_ways, run_job, small

from fastmlp.kernels.blocks.norms import Norm
from fastmlp.kernels.layout import row_stride, zeros
from fastmlp.program import Program

WIDTHS = small([1, 2, 7, 15, 16, 17, 31, 33, 129, 257], [1, 7, 17])
KINDS = {"layer norm": (True, 1e-5), "RMS norm": (False, 0.25)}


def norm_op(rng, width, dtype, kind, *, weight=True, bias=True):
    """The op, its flat parameters, and weight and bias."""
    centred, small_number = KINDS[kind]
    stride = row_stride(width, dtype)
    params = zeros(2 * stride, dtype)
    rows = params.reshape(2, stride)
    rows[:, :width] = normal(rng, (2, width), dtype)
    used = rows[0, :width] if weight else np.ones(width, dtype), rows[1, :width] if bias else np.zeros(width, dtype)
    return Norm(width, 0 if weight else -1, stride if bias else -1, small_number, centred), params, *used


def reference(x, dy, weight, bias, kind):
    """Output, and the gradients by x, weight and bias; and the sizes of what they are sums of."""
    centred, small_number = KINDS[kind]
    x, dy, weight, bias = (array.astype(np.longdouble) for array in (x, dy, weight, bias))
    shifted = x - x.mean(1, keepdims=True) if centred else x
    factor = 1 / np.sqrt((shifted**2).mean(1, keepdims=True) + small_number)
    n, d = shifted * factor, dy * weight
    dx = factor * (d - d.mean(1, keepdims=True) * centred - n * (d * n).mean(1, keepdims=True))
    size = factor * (1 + np.abs(x).max(1, keepdims=True) * factor) * np.abs(d).max(1, keepdims=True)
    return n * weight + bias, dx, (dy * n).sum(0), dy.sum(0), (1 + np.abs(x) * factor) * np.abs(weight) + np.abs(bias), size


@pytest.mark.parametrize("kind", KINDS)
def test_norm_matches_reference(kind, dtype, rng):
    for rows, width in itertools.product(ROWS[::2], WIDTHS):
        for weight, bias in ((True, True), (True, False), (False, False), (False, True)):
            op, params, w, b = norm_op(rng, width, dtype, kind, weight=weight, bias=bias)
            x, dy = normal(rng, (rows, width), dtype), normal(rng, (rows, width), dtype)
            ran = ran_both_ways([op], x, dy, params)
            y, dx, dweight, dbias, y_size, dx_size = reference(x, dy, w, b, kind)
            terms = (width + 8) * eps(dtype)
            assert_within(ran.y, y, terms * y_size.astype(float))
            assert_within(ran.dx, dx, 4 * terms * dx_size.astype(float))
            grads = ran.grads.reshape(2, -1)
            terms = (rows + width + 8) * eps(dtype)
            largest = float(np.abs(dy).sum(0).max()) * (1 + float(y_size.max()))
            assert_within(grads[0, :width], dweight * weight, terms * largest)
            assert_within(grads[1, :width], dbias * bias, terms * np.abs(dy).sum(0).max())
            assert not grads[:, width:].any()


def test_what_lies_behind_a_row_has_no_part(dtype, rng):
    for kind, width in itertools.product(KINDS, (1, 3, 17)):
        op, params, *_ = norm_op(rng, width, dtype, kind)
        x, dy = normal(rng, (5, width), dtype), normal(rng, (5, width), dtype)
        clean = ran_both_ways([op], x, dy, params)
        program = Program.both_ways([norm_op(rng, width, dtype, kind)[0]], dtype, batch=5)
        job, record = kept_job(program, dtype, params=params, grads=np.zeros_like(params)), program.records[1]
        stride = row_stride(width, dtype)
        for offset in (record.x, record.y):
            job.work[offset : offset + 5 * stride].reshape(5, stride)[:, width:] = np.nan
        y, dx = np.empty_like(x), np.empty_like(x)
        run_job(job, x, y)
        run_job(job, dx, dy.copy(), number=1)
        for ours, theirs in ((y, clean.y), (dx, clean.dx), (job.grads, clean.grads)):
            assert_same_bits(ours, theirs)
        assert not job.work[record.dx : record.dx + 5 * stride].reshape(5, stride)[:, width:].any(), "a product reads it"


def test_variance_does_not_cancel(dtype, rng):
    """A deviation that is small beside the mean; equal numbers, whose variance is exactly zero."""
    for width in (3, 16, 100):
        op, params, *_ = norm_op(rng, width, dtype, "layer norm", weight=False, bias=False)
        x = (1024 + rng.integers(-8, 9, (4, width)) / 64).astype(dtype)  # exact in either dtype
        y = ran_both_ways([op], x, x, params).y
        expected = reference(x, x, np.ones(width), np.zeros(width), "layer norm")[0]
        assert_within(y, expected, 1024 * 64 * 4 * eps(dtype))
        for number in (0.1, 1e8, -1e-8):
            equal = np.full((2, width), number, dtype)
            assert not ran_both_ways([op], equal, equal, params).y.any()


def test_gradient_is_one_chain_over_the_batch(dtype, rng):
    """That of the rows together, from what those before have left."""
    width = lanes(dtype) + 3
    op, params, *_ = norm_op(rng, width, dtype, "layer norm")
    x, dy = normal(rng, (9, width), dtype), normal(rng, (9, width), dtype)
    together = ran_both_ways([op], x, dy, params).grads
    for other in (np.arange(9), np.arange(9)[::-1]):
        again = ran_both_ways([norm_op(rng, width, dtype, "layer norm")[0]], x[other], dy[other], params).grads
        assert np.array_equal(again, together) == (other[0] == 0), "the order of the rows is the order of the sum"
