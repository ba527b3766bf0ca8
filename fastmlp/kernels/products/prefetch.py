"""Memory asked for before it is needed: a vector, for whoever emits instructions, or rows of a matrix."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.numba_private import data_of
from fastmlp.kernels.compiler.processor import REGISTER_BYTES, TILE_VECTORS
from fastmlp.kernels.layout import LINE_BYTES

__all__ = ["LEVEL_1", "emit_prefetch", "prefetch_strip"]

INT, SHORT = ir.IntType(64), ir.IntType(32)

#: What LLVM's ``prefetch`` is told: to read, into which cache, data.
READ, LEVEL_1, LEVEL_2, DATA = 0, 3, 2, 1


def emit_prefetch(builder: ir.IRBuilder, place: ir.Value, level: int) -> None:
    """Ask for the line that has this address, to be in the cache of a level by the time it is read."""
    function_type = ir.FunctionType(ir.VoidType(), [ir.PointerType(), *[SHORT] * 3])
    function = cgutils.get_or_insert_function(builder.module, function_type, "llvm.prefetch.p0")
    builder.call(function, [place, *(SHORT(hint) for hint in (READ, level, DATA))])


@intrinsic
def _prefetch_strip(typingctx, b, at, b_row, rows):
    def codegen(context, builder, signature, args):
        array, at, b_row, rows = args
        itemsize = b.dtype.bitwidth // 8
        data, scalar = data_of(context, builder, b, array), context.get_data_type(b.dtype)
        with cgutils.for_range(builder, rows) as loop:
            start = builder.add(at, builder.mul(loop.index, b_row))
            for byte in range(0, TILE_VECTORS * REGISTER_BYTES, LINE_BYTES):
                place = builder.gep(data, [builder.add(start, INT(byte // itemsize))], source_etype=scalar)
                emit_prefetch(builder, place, LEVEL_2)
        return context.get_dummy_value()

    n = types.intp
    return types.void(b, n, n, n), codegen


@instead(_prefetch_strip)
def prefetch_strip(b, at, b_row, rows):
    """Have the vectors of a tile in so many rows of `b`, from ``b.flat[at]`` on, in the second-level cache soon.

    There need be nothing.
    """
