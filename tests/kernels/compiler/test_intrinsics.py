from __future__ import annotations

import numpy as np
from helpers import assert_same_bits, jit

from fastmlp.kernels.compiler.intrinsics import itemsize_of, matrix, muladd, vector


@jit
def multiply_add(out, a, b, c):
    for i in range(out.size):
        out[i] = muladd(a[i], b[i], c[i])


@jit
def double_part(flat, offset, rows, stride):
    part = matrix(flat, offset, rows, stride)
    line = vector(flat, offset, stride)
    shape = part.shape
    for i in range(rows):
        for j in range(stride):
            part[i, j] *= 2
    return shape, line[0], line.size  # of the view, after the change


def test_muladd_is_rounded_once_or_twice(dtype, rng):
    a, b, c = (rng.standard_normal(67).astype(dtype) for _ in range(3))
    out = np.empty_like(a)
    multiply_add(out, a, b, c)
    twice = a * b + c
    if dtype == np.float32:
        once = (a.astype(np.float64) * b + c).astype(np.float32)
        assert ((out == twice) | (out == once)).all()
    bound = np.finfo(dtype).eps * (np.abs(a * b) + np.abs(c))
    assert (np.abs(out - twice) <= bound).all()


def test_matrix_and_vector_are_views(dtype):
    flat = np.arange(1, 33).astype(dtype)
    before = flat.copy()
    shape, first, size = double_part(flat, 5, 3, 4)
    assert (shape, size) == ((3, 4), 4)
    assert first == 2 * before[5]
    before[5:17] *= 2
    assert_same_bits(flat, before)


@jit
def sizes(flat, out):
    out[0] = itemsize_of(flat)
    out[1] = itemsize_of(matrix(flat, 0, 2, 3))


def test_itemsize_of_is_that_of_the_dtype(dtype):
    out = np.zeros(2, np.int64)
    sizes(np.zeros(6, dtype), out)
    assert out.tolist() == [dtype.itemsize] * 2
