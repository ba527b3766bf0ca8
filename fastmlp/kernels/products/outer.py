"""The product of a column and a row, C = init + a b, emitted as LLVM vector IR: a weight's gradient for a batch of one row.

Each entry of C is the one fused multiply-add that :mod:`.tile` has there, so results are the same to the bit. A tile of depth 1
spends its time on getting ready: 26 x 25 take 75 ns by tiles, 25 ns here (Zen 4).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import splat
from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.processor import REGISTER_BYTES

__all__ = ["OUTER_VECTORS", "outer"]

#: Vectors of b that stay in registers while all of `a` goes past them.
OUTER_VECTORS = 4

INT, POINTER = ir.IntType(64), ir.PointerType()


def _emit_strip(builder: ir.IRBuilder, scalar: ir.Type, itemsize: int, vectors: int, arguments: list[ir.Value]) -> None:
    """So many vectors of each row, from the builder's block on."""
    c, c_row, init, init_row, a, rows, b = arguments
    lanes = REGISTER_BYTES // itemsize
    vector = ir.VectorType(scalar, lanes)
    name = f"llvm.fmuladd.v{lanes}f{8 * itemsize}"
    fma = cgutils.get_or_insert_function(builder.module, ir.FunctionType(vector, [vector] * 3), name)

    def at(pointer, index):
        return builder.gep(pointer, [index], source_etype=scalar)

    line = [builder.load(at(b, INT(v * lanes)), align=itemsize, typ=vector) for v in range(vectors)]
    with cgutils.for_range(builder, rows, intp=INT) as loop:
        factor = splat(builder, builder.load(at(a, loop.index), typ=scalar), lanes)
        goal, start = (at(pointer, builder.mul(loop.index, row)) for pointer, row in ((c, c_row), (init, init_row)))
        for v, numbers in enumerate(line):
            total = builder.load(at(start, INT(v * lanes)), align=itemsize, typ=vector)
            builder.store(builder.call(fma, [factor, numbers, total]), at(goal, INT(v * lanes)), align=itemsize)


def _emit(function: ir.Function, scalar: ir.Type, itemsize: int) -> None:
    """All strips, each with as many vectors as there are left, up to OUTER_VECTORS."""
    c, c_row, init, init_row, a, rows, b, columns = function.args
    builder, lanes = ir.IRBuilder(function.append_basic_block("entry")), REGISTER_BYTES // itemsize
    vectors = builder.sdiv(builder.add(columns, INT(lanes - 1)), INT(lanes))
    with cgutils.for_range_slice(builder, INT(0), vectors, INT(OUTER_VECTORS), intp=INT) as (done, _):
        left, first = builder.sub(vectors, done), builder.mul(done, INT(lanes))
        here = [builder.gep(pointer, [first], source_etype=scalar) for pointer in (c, init, b)]
        behind = function.append_basic_block("behind")
        whole = function.append_basic_block("whole")
        choice = builder.switch(left, whole)
        for count in range(1, OUTER_VECTORS + 1):
            if count < OUTER_VECTORS:
                place = function.append_basic_block(f"strip_{count}")
                choice.add_case(INT(count), place)
            else:
                place = whole
            builder.position_at_end(place)
            _emit_strip(builder, scalar, itemsize, count, [here[0], c_row, here[1], init_row, a, rows, here[2]])
            builder.branch(behind)
        builder.position_at_end(behind)
    builder.ret_void()


@intrinsic
def _outer(typingctx, c, c_at, c_row, init, init_at, init_row, a, a_at, rows, b, b_at, columns):
    n = types.intp
    signature = types.void(c, n, n, init, n, n, a, n, n, b, n, n)

    def codegen(context, builder, signature, args):
        dtype = signature.args[0].dtype
        scalar, itemsize = context.get_data_type(dtype), dtype.bitwidth // 8
        places = []
        for array in (0, 3, 6, 9):
            data = context.make_array(signature.args[array])(context, builder, args[array]).data
            places.append(builder.gep(data, [args[array + 1]], source_etype=scalar))
        c, init, a, b = places
        kinds = [POINTER, INT, POINTER, INT, POINTER, INT, POINTER, INT]
        function_type, name = ir.FunctionType(ir.VoidType(), kinds), f"fastmlp_outer_f{8 * itemsize}"
        function = cgutils.get_or_insert_function(builder.module, function_type, name)
        if function.is_declaration:
            function.linkage = "internal"
            _emit(function, scalar, itemsize)
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
