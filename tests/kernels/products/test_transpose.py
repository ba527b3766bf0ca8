from __future__ import annotations

import numpy as np
from helpers import COLUMNS, JIT, assert_same_bits, jit, lanes, normal, padded

from fastmlp.kernels.layout import zeros
from fastmlp.kernels.products import transpose as products_transpose
from fastmlp.kernels.products.transpose import transpose


@jit
def call(target, source, zero, first, last, columns):
    transpose(target, source, zero, first, last, columns)


def room(array):
    """A target whose rows and columns are whole lines, and one line more each way."""
    line = lanes(array.dtype)
    rows, columns = (-(-extent // line) * line + line for extent in array.shape)
    return np.full((rows, columns), 7, array.dtype)


def test_transpose_matches_reference(dtype, rng):
    for rows in COLUMNS:
        for columns in COLUMNS:
            source = padded(normal(rng, (rows, columns), dtype))
            target = room(source[:, :columns].T)
            zero = np.zeros((1, lanes(dtype)), dtype)
            call(target, source, zero, 0, rows, columns)
            assert_same_bits(target[:columns, :rows], source[:, :columns].T)
            line = -(-rows // lanes(dtype)) * lanes(dtype)
            assert not target[:columns, rows:line].any(), "padding of the copy"
            assert (target[:, line:] == 7).all(), "beyond the last line"
            assert (target[source.shape[1] :] == 7).all()


def test_transpose_of_parts_is_the_transpose(dtype, rng):
    source = padded(normal(rng, (41, 17), dtype))
    zero = np.zeros((1, lanes(dtype)), dtype)
    whole, parts = room(source[:, :17].T), room(source[:, :17].T)
    call(whole, source, zero, 0, 41, 17)
    for first, last in ((16, 32), (0, 16), (32, 41)):
        call(parts, source, zero, first, last, 17)
    assert_same_bits(whole, parts)


def test_transpose_matches_reference_past_the_caches(dtype, rng, monkeypatch):
    rows, columns, line = (1030, 515, lanes(dtype)) if JIT else (41, 37, lanes(dtype))
    if not JIT:
        monkeypatch.setattr(products_transpose, "PAST_CACHES_FROM", 100)
    source = padded(normal(rng, (rows, columns), dtype))
    shape = -(-columns // line) * line, -(-rows // line) * line
    assert columns * shape[1] > products_transpose.PAST_CACHES_FROM
    target = zeros(shape[0] * shape[1], dtype).reshape(shape)  # which begins on a line
    target[:] = 7
    zero = np.zeros((1, line), dtype)
    call(target, source, zero, 32, rows, columns)
    assert (target[:, :32] == 7).all()
    call(target, source, zero, 0, 32, columns)
    assert_same_bits(target[:columns, :rows], source[:, :columns].T)
    assert not target[:columns, rows:].any(), "padding of the copy"
