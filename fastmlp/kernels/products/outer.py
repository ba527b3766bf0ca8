"""The product of a column and a row, C = init + a b, emitted as LLVM vector IR: a weight's gradient for a batch of one row.

Each entry of C is the one fused multiply-add that :mod:`.tile` has there, so results are the same to the bit. A tile of depth 1
spends its time on getting ready: 26 x 25 take 75 ns by tiles, 25 ns here (Zen 4).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import fused_multiply_add, own_function, splat
from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.numba_private import data_of
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.products.strips import in_strips

__all__ = ["OUTER_VECTORS", "outer"]

#: Vectors of b that stay in registers while all of `a` goes past them.
OUTER_VECTORS = 4

INT, POINTER = ir.IntType(64), ir.PointerType()


def _emit(function: ir.Function, scalar: ir.Type, itemsize: int) -> None:
    """All strips, each with its vectors of b in registers."""
    c, c_row, init, init_row, a, rows, b, columns = function.args
    lanes = REGISTER_BYTES // itemsize
    vector = ir.VectorType(scalar, lanes)
    fma = fused_multiply_add(function.module, vector, itemsize)

    def strip(builder, first, vectors):
        def at(pointer, index):
            return builder.gep(pointer, [index], source_etype=scalar)

        shifts = [INT(v * lanes) for v in range(vectors)]
        goals, starts, line = (at(pointer, first) for pointer in (c, init, b))
        numbers = [builder.load(at(line, shift), align=itemsize, typ=vector) for shift in shifts]
        with cgutils.for_range(builder, rows, intp=INT) as loop:
            factor = splat(builder, builder.load(at(a, loop.index), typ=scalar), lanes)
            goal, start = at(goals, builder.mul(loop.index, c_row)), at(starts, builder.mul(loop.index, init_row))
            for shift, number in zip(shifts, numbers):
                total = builder.load(at(start, shift), align=itemsize, typ=vector)
                builder.store(builder.call(fma, [factor, number, total]), at(goal, shift), align=itemsize)

    in_strips(function, columns, lanes, OUTER_VECTORS, strip)


@intrinsic
def _outer(typingctx, c, c_at, c_row, init, init_at, init_row, a, a_at, rows, b, b_at, columns):
    n = types.intp
    signature = types.void(c, n, n, init, n, n, a, n, n, b, n, n)

    def codegen(context, builder, signature, args):
        dtype = signature.args[0].dtype
        scalar, itemsize = context.get_data_type(dtype), dtype.bitwidth // 8
        places = []
        for array in (0, 3, 6, 9):
            data = data_of(context, builder, signature.args[array], args[array])
            places.append(builder.gep(data, [args[array + 1]], source_etype=scalar))
        c, init, a, b = places
        kinds = [POINTER, INT, POINTER, INT, POINTER, INT, POINTER, INT]
        name = f"fastmlp_outer_f{8 * itemsize}"
        function = own_function(context, builder, name, kinds, lambda function: _emit(function, scalar, itemsize))
        builder.call(function, [c, args[2], init, args[5], a, args[8], b, args[11]])
        return context.get_dummy_value()

    return signature, codegen


@instead(_outer)
def outer(c, c_at, c_row, init, init_at, init_row, a, a_at, rows, b, b_at, columns):
    """``c[m, n] = init[m, n] + a[m] * b[n]`` for m < `rows` and n < `columns`.

    c, init, a, b  flat arrays, each followed by the entry where it begins, c and init by their strides too (0: one row for all)

    Whole vectors are computed, of c, init and b. 2 M N flops.
    """
    lanes = REGISTER_BYTES // c.itemsize
    width = -(-columns // lanes) * lanes
    line = b[b_at : b_at + width].copy()
    for m in range(rows):
        start = init_at + m * init_row
        c[c_at + m * c_row : c_at + m * c_row + width] = init[start : start + width] + a[a_at + m] * line
