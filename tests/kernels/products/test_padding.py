from __future__ import annotations

import numpy as np
from helpers import assert_same_bits, jit, jit_only, masked_stores, small

from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.products.padding import clear_padding, clear_unwritten


@jit
def clear(c, columns):
    clear_padding(c, columns)


@jit
def clear_rest(c, columns):
    clear_unwritten(c, columns)


def test_clear_padding_leaves_the_columns(dtype):
    for columns in small([1, 7, 8, 9, 15, 16, 17, 31, 63, 64], [1, 16, 64]):
        for filling in (7, np.nan, np.inf):
            room = np.full((5, 64), filling, dtype)
            clear(room[1:4], columns)
            assert not room[1:4, columns:].any()
            untouched = np.full((5, 64), filling, dtype)
            assert_same_bits(room[1:4, :columns], untouched[1:4, :columns])
            assert_same_bits(room[::4], untouched[::4])


@jit_only
def test_clear_padding_stores_whole_vectors_and_calls_nothing(dtype):
    clear(np.ones((3, 16), dtype), 3)
    assert masked_stores(clear) == 0
    assert not any("memset" in code for code in clear.inspect_asm().values())


def test_clear_unwritten_leaves_the_vector_that_the_last_column_falls_into(dtype):
    lanes = REGISTER_BYTES // dtype.itemsize
    for columns in small([1, lanes - 1, lanes, lanes + 1, 63], [1, lanes]):
        c = np.full((3, 80), 7, dtype)
        clear_rest(c, columns)
        written = -(-columns // lanes) * lanes
        assert (c[:, :written] == 7).all()
        assert not c[:, written:].any()
