"""The padding of rows, which is to be zero: what computes in whole vectors leaves numbers there."""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import itemsize_of, opaque, own_function, splat
from fastmlp.kernels.compiler.jit import inner, instead
from fastmlp.kernels.compiler.numba_private import data_of, shape_of
from fastmlp.kernels.compiler.processor import REGISTER_BYTES

__all__ = ["clear_padding", "clear_unwritten"]

INT = ir.IntType(64)


def _emit_clear_padding(function, vector, align):
    """A function of c, its rows, its stride and its columns."""
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    c, rows, stride, columns = function.args
    lanes = INT(vector.count)
    whole, vectors = builder.sdiv(columns, lanes), builder.sdiv(stride, lanes)
    numbers = ir.Constant(ir.VectorType(INT, vector.count), list(range(vector.count)))
    inside = builder.icmp_signed("<", numbers, splat(builder, builder.srem(columns, lanes), vector.count))
    zeros = ir.Constant(vector, None)
    with builder.if_then(builder.icmp_signed("<", columns, stride)), cgutils.for_range(builder, rows) as row:
        start = builder.mul(row.index, vectors)
        first = builder.gep(c, [builder.add(start, whole)], source_etype=vector)
        kept = builder.select(inside, builder.load(first, typ=vector, align=align), zeros)
        builder.store(kept, opaque(builder, first), align=align)  # not the address that it was read from: see `lines.goals`
        with cgutils.for_range_slice(builder, builder.add(whole, INT(1)), vectors, INT(1), INT) as (at, _):
            place = builder.gep(c, [builder.add(start, at)], source_etype=vector)
            builder.store(zeros, opaque(builder, place), align=align)  # LLVM would call memset for each row's vector or two
    builder.ret_void()


@intrinsic
def _clear_padding(typingctx, c, columns):
    def codegen(context, builder, signature, args):
        itemsize = c.dtype.bitwidth // 8
        vector = ir.VectorType(context.get_data_type(c.dtype), REGISTER_BYTES // itemsize)
        kinds, name = [ir.PointerType(), INT, INT, INT], f"fastmlp_clear_padding_f{8 * itemsize}"
        function = own_function(context, builder, name, kinds, lambda function: _emit_clear_padding(function, vector, itemsize))
        data, shape = data_of(context, builder, c, args[0]), shape_of(context, builder, c, args[0])
        builder.call(function, [data, *shape, args[1]])
        return context.get_dummy_value()

    return types.void(c, types.intp), codegen


@instead(_clear_padding)
def clear_padding(c, columns):
    """Zero all beyond the first `columns` of each row of `c`, whose rows are whole lines.

    A loop over entries took 0.6 us more for 100 rows of 2 columns.
    """
    c[:, columns:] = 0


@inner
def clear_unwritten(c, columns):
    """Zero what a product of this many columns has left of the rows of `c` as it was: all beyond its last whole vector.

    There is something where rows have an odd line more, or where a line is several vectors. Scratch memory that serves
    several layers would carry the gradient of one into the padding of another.
    """
    lanes = REGISTER_BYTES // itemsize_of(c)
    written = (columns + lanes - 1) // lanes * lanes
    if written < c.shape[1]:  # mostly not: a call for nothing took 2 % of a step of one row
        clear_padding(c, written)
