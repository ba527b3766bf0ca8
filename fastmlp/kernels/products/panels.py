"""Panels: a few columns of a matrix copied side by side, for a product that reads them more than once.

A panel has rows of PANEL_BYTES, so what a tile reads of it lies in one piece. A tile of AVX2 is one and a half lines wide:
every six cycles it reads two lines of a matrix as it lies, of a panel one and a half, and the processor's own prefetcher
follows. As it lies, 128 x 1024 x 1024 ran at 78 GFLOP/s, by panels at 88, at 84 with the copying; 512 rows at 85, 90, 90 (Zen
3, peak 101).
"""

from __future__ import annotations

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import itemsize_of, own_function
from fastmlp.kernels.compiler.jit import inner, instead
from fastmlp.kernels.compiler.numba_private import data_of
from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_VECTORS
from fastmlp.kernels.layout import LINE_BYTES
from fastmlp.kernels.products.transpose import transposition

__all__ = ["PANEL_BYTES", "copy_panel", "panel_width", "transpose_panel"]

#: As wide as a tile, or with SSE as two: whole pieces of 32 bytes, which a transposition writes.
PANEL_BYTES = np.int64(TILE_VECTORS * max(REGISTER_BYTES, 32))

INT, POINTER = ir.IntType(64), ir.PointerType()


@inner
def panel_width(array):
    """Columns of a panel."""
    return PANEL_BYTES // itemsize_of(array)


def _emit_copy(function: ir.Function, scalar: ir.Type, itemsize: int) -> None:
    """Of the target, the source and its stride, rows, and the vectors of each."""
    vector, width = ir.VectorType(scalar, REGISTER_BYTES // itemsize), int(PANEL_BYTES) // itemsize
    function.attributes.add("noinline")
    target, source, stride, rows, vectors = function.args
    builder = ir.IRBuilder(function.append_basic_block("entry"))

    def copy(count):
        with cgutils.for_range(builder, rows) as loop:
            starts = [
                builder.gep(pointer, [builder.mul(loop.index, step)], source_etype=scalar)
                for pointer, step in ((target, INT(width)), (source, stride))
            ]
            for v in range(count):
                to, at = (builder.gep(start, [INT(v)], source_etype=vector) for start in starts)
                builder.store(builder.load(at, typ=vector, align=itemsize), to, align=itemsize)

    for count in range(1, width // vector.count + 1):
        with builder.if_then(builder.icmp_signed("==", vectors, INT(count))):
            copy(count)
    builder.ret_void()


@intrinsic
def _copy_panel(typingctx, target, target_at, source, source_at, stride, rows, columns):
    n = types.intp

    def codegen(context, builder, signature, args):
        dtype = signature.args[0].dtype
        scalar, itemsize = context.get_data_type(dtype), dtype.bitwidth // 8
        data = {i: data_of(context, builder, signature.args[i], args[i]) for i in (0, 2)}
        starts = [builder.gep(array, [args[i + 1]], source_etype=scalar) for i, array in data.items()]
        lanes = REGISTER_BYTES // itemsize
        vectors = builder.sdiv(builder.add(args[6], INT(lanes - 1)), INT(lanes))
        kinds, name = [POINTER, POINTER, INT, INT, INT], f"fastmlp_copy_panel_f{8 * itemsize}"
        function = own_function(context, builder, name, kinds, lambda function: _emit_copy(function, scalar, itemsize))
        builder.call(function, [*starts, args[4], args[5], vectors])
        return context.get_dummy_value()

    return types.void(target, n, source, n, n, n, n), codegen


@instead(_copy_panel)
def copy_panel(target, target_at, source, source_at, stride, rows, columns):
    """Copy `rows` rows of `columns` entries, in whole vectors, a panel's width at most, to rows of a panel.

    target  flat, out: the panel's rows begin at `target_at`, the width of a panel apart
    source  flat, in: rows begin at `source_at`, `stride` entries apart
    """
    width, lanes = PANEL_BYTES // target.itemsize, REGISTER_BYTES // target.itemsize
    columns = -(-columns // lanes) * lanes
    for k in range(rows):
        to, at = target_at + k * width, source_at + k * stride
        target[to : to + columns] = source[at : at + columns]


@intrinsic
def _transpose_line(typingctx, target, target_at, source, source_at, stride, zero, rows):
    n = types.intp

    def codegen(context, builder, signature, args):
        dtype = signature.args[0].dtype
        scalar, itemsize = context.get_data_type(dtype), dtype.bitwidth // 8
        goal, origin, nothing = (data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 5))
        to, at = (builder.gep(data, [args[i]], source_etype=scalar) for data, i in ((goal, 1), (origin, 3)))
        width = int(PANEL_BYTES) // itemsize
        function = transposition(context, builder, dtype, width, past_caches=False)
        builder.call(function, [to, INT(width), at, args[4], nothing, args[6]])
        return context.get_dummy_value()

    return types.void(target, n, source, n, n, zero, n), codegen


@instead(_transpose_line)
def transpose_line(target, target_at, source, source_at, stride, zero, rows):
    """Transpose a line of so many rows of the source to rows of a panel; what the panel has more in width is zero."""
    width, lanes = PANEL_BYTES // target.itemsize, LINE_BYTES // target.itemsize
    goal = target[target_at : target_at + lanes * width].reshape(lanes, width)
    goal[:] = 0
    for r in range(min(rows, width)):
        goal[:, r] = source[source_at + r * stride : source_at + r * stride + lanes]


@inner
def transpose_panel(target, target_at, source, source_at, stride, zero, rows, columns):
    """``panel[k, r] = source[r, k]`` for r < `rows`, zero in what the panel has more, and k < `columns`.

    target  flat, out: room for `columns` rows, in whole lines, of a panel
    source  flat, in: rows begin at `source_at`, `stride` entries apart; `columns` entries, in whole lines
    zero    flat, in: a line of zeros
    """
    lanes = LINE_BYTES // itemsize_of(target)
    for k in range(0, columns, lanes):
        transpose_line(target, target_at + k * panel_width(target), source, source_at + k, stride, zero, rows)
