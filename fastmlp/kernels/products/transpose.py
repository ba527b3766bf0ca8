"""The transposed copy of a weight, a square of one line by one line at a time, in registers.

A vector takes half of its entries from a row, the other half from a row further down; what is left to do stays within the
halves, where shuffles are cheapest: log2(n) rounds for n rows, each of which interleaves row i with row i + n/2.

Element by element, the copy of a 784 x 512 weight takes 112 us beside a gradient of 900 us; by squares, 40. One of 25 x 25
takes 78 ns in float32 and 120 in float64; with whole rows in the vectors, 104 and 184.

A copy larger than the second-level cache is written past the caches: it is read in the next step, behind all other weights, and
a store would read each line from memory first. A step of 2048-2048-2048 at batch 128 on two cores of a Zen 4 took 28.4 ms, so
26.8; one of 784-1024-1024-10 at batch 256 with AVX2 kernels 13.7, so 13.1. Such stores may come late, but not behind a
LOCK-prefixed instruction (Intel SDM, volume 3, "Methods of Caching Available"), which every barrier and every lock has.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import itemsize_of, least, own_function
from fastmlp.kernels.compiler.jit import inner, instead
from fastmlp.kernels.compiler.numba_private import data_of, shape_of
from fastmlp.kernels.layout import LINE_BYTES

__all__ = ["transpose", "transposition"]

INT32, INT64, POINTER = ir.IntType(32), ir.IntType(64), ir.PointerType()

#: Entries of a copy that is larger than a second-level cache: 2 MiB of float32.
PAST_CACHES_FROM = np.int64(2**19)

#: What a vector takes from one row: the width within which the shuffles of AVX work.
HALF_BYTES = 16


def transposition(context: Any, builder: ir.IRBuilder, dtype: types.Float, height: int, past_caches: bool) -> ir.Function:
    """The transposition of so many rows of one line, a function for whoever emits a call of it."""
    scalar, itemsize = context.get_data_type(dtype), dtype.bitwidth // 8
    kinds, name = [POINTER, INT64] * 3, f"fastmlp_transpose_{height}_f{8 * itemsize}{'_past_caches' * past_caches}"
    return own_function(context, builder, name, kinds, lambda function: _emit(function, scalar, itemsize, height, past_caches))


def _emit(function: ir.Function, scalar: ir.Type, itemsize: int, height: int, past_caches: bool) -> None:
    """So many rows of a line, of which those from the last argument on count as zero, to lines of the target."""
    lanes, module = LINE_BYTES // itemsize, function.module
    function.attributes.add("noinline")
    target, target_row, source, source_row, zero, rows = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    half = HALF_BYTES // itemsize  # entries that a shuffle does not carry from one half of a vector to the other
    whole = 2 * half
    half_type = ir.VectorType(scalar, half)

    def at(pointer, index):
        return builder.gep(pointer, [index], source_etype=scalar)

    def shuffle(a, b, order):
        return builder.shuffle_vector(a, b, ir.Constant(ir.VectorType(INT32, len(order)), order))

    def interleave(first):
        """In each half, entries of two vectors in turns, `half / 2` of each from `first` on."""
        places = [start + place for start in (0, half) for place in range(first, first + half // 2)]
        return [place + other for place in places for other in (0, whole)]

    starts = []
    for row in range(height):
        start = at(source, builder.mul(source_row, INT64(row)))
        starts.append(builder.select(builder.icmp_signed("<", INT64(row), rows), start, zero))

    def turn(column):
        """A few columns: both halves of a line one soon after the other, since what passes the caches is written by lines."""
        for row in range(0, height, whole):
            rows = [builder.load(at(starts[i], column), align=itemsize, typ=half_type) for i in range(row, row + whole)]
            part = [shuffle(rows[i], rows[i + half], list(range(whole))) for i in range(half)]
            for _ in range(half.bit_length() - 1):
                pairs = list(zip(part[: half // 2], part[half // 2 :]))
                part = [shuffle(a, b, interleave(first)) for a, b in pairs for first in (0, half // 2)]
            for i in range(half):
                start = at(target, builder.add(builder.mul(target_row, builder.add(column, INT64(i))), INT64(row)))
                store = builder.store(part[i], start, align=2 * HALF_BYTES if past_caches else itemsize)
                if past_caches:
                    store.set_metadata("nontemporal", module.add_metadata([INT32(1)]))

    if past_caches or height > lanes:  # a loop, 0.01 s to compile instead of 0.04, waits for memory as long
        with cgutils.for_range(builder, INT64(lanes // half)) as loop:
            turn(builder.mul(loop.index, INT64(half)))
    else:
        for column in range(0, lanes, half):
            turn(INT64(column))
    builder.ret_void()


@intrinsic
def _transpose_square(typingctx, target, target_at, source, source_at, zero, rows, past_caches):
    n = types.intp

    def codegen(context, builder, signature, args):
        dtype = signature.args[0].dtype
        scalar = context.get_data_type(dtype)
        goal, origin, nothing = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4))
        widths = [shape_of(context, builder, signature.args[i], args[i])[1] for i in (0, 2)]
        to, at = (builder.gep(data, [args[i]], source_etype=scalar) for data, i in ((goal, 1), (origin, 3)))
        with builder.if_else(args[6]) as ways:
            for way, past in zip(ways, (True, False)):
                with way:
                    function = transposition(context, builder, dtype, 8 * LINE_BYTES // dtype.bitwidth, past)
                    builder.call(function, [to, widths[0], at, widths[1], nothing, args[5]])
        return context.get_dummy_value()

    return types.void(target, n, source, n, zero, n, types.boolean), codegen


@instead(_transpose_square)
def transpose_square(target, target_at, source, source_at, zero, rows, past_caches):
    """Transpose the square at ``source.flat[source_at]`` to ``target.flat[target_at]``; its rows from `rows` on are zero.

    The compiled one writes whole squares, also where `target` ends before its last line does.
    """
    lanes = LINE_BYTES // target.itemsize
    row, column = divmod(target_at, target.shape[1])
    i, j = divmod(source_at, source.shape[1])
    block = target[row : row + lanes, column : column + lanes]
    block[:] = 0
    block[:, :rows] = source[i : i + rows, j : j + len(block)].T


@inner
def transpose(target, source, zero, first, last, columns):
    """``target[j, i] = source[i, j]`` for first <= i < last and j < columns: what an input gradient reads.

    target  (columns in whole lines, at least `last` in whole lines)  out; zero beyond `last` up to a whole line; one larger
            than PAST_CACHES_FROM begins on a line
    source  (at least `last`, padded columns)  in
    zero    (1, at least a line)  in, zeros
    first   a multiple of a line
    """
    lanes, width = LINE_BYTES // itemsize_of(target), target.shape[1]
    past_caches = columns * width > PAST_CACHES_FROM
    for i in range(first, last, lanes):
        for j in range(0, columns, lanes):
            at, rows = i * source.shape[1] + j, least(lanes, last - i)
            transpose_square(target, j * width + i, source, at, zero, rows, past_caches)
