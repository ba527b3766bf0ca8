"""One row of a product, C = max(floor, init + a B), emitted as LLVM vector IR.

Each entry of C is the chain of fused multiply-adds of :mod:`.tile`, over k in order, so results are the same to the bit. Such
a chain waits four cycles for each multiply-add; the tile for rows that are left over takes a single row as two equal ones, by
three vectors. This takes one row by up to eight vectors, so that a layer of 64 float32 waits for its chains once, not twice
(on AVX2 once, not three times).
"""

from __future__ import annotations

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from fastmlp.kernels.compiler.intrinsics import fused_multiply_add, own_function, splat
from fastmlp.kernels.compiler.jit import instead
from fastmlp.kernels.compiler.numba_private import data_of
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.products.strips import in_strips

__all__ = ["ROW_VECTORS", "row_above"]

#: Vectors of C whose sums are in registers: eight of AVX2's sixteen, with what B and a take beside them.
ROW_VECTORS = 8

INT, POINTER = ir.IntType(64), ir.PointerType()


def _emit_strip(builder: ir.IRBuilder, scalar: ir.Type, itemsize: int, vectors: int, arguments: list[ir.Value]) -> None:
    """The sums of so many vectors, from the builder's block on; it ends in a block of its own."""
    c, init, a, b, b_row, depth, floor = arguments
    function, lanes = builder.function, REGISTER_BYTES // itemsize
    vector = ir.VectorType(scalar, lanes)
    fma = fused_multiply_add(builder.module, vector, itemsize)

    def vectors_at(pointer):
        return [builder.gep(pointer, [INT(v)], source_etype=vector) for v in range(vectors)]

    start = [builder.load(place, align=itemsize, typ=vector) for place in vectors_at(init)]
    before = builder.block
    test, body, leave = (function.append_basic_block(f"{name}_{vectors}") for name in ("test", "body", "leave"))
    builder.branch(test)
    builder.position_at_end(test)
    k, b_now = builder.phi(INT), builder.phi(POINTER)
    sums = [builder.phi(vector) for _ in range(vectors)]
    builder.cbranch(builder.icmp_signed("<", k, depth), body, leave)
    builder.position_at_end(body)
    factor = splat(builder, builder.load(builder.gep(a, [k], source_etype=scalar), typ=scalar), lanes)
    lines = [builder.load(place, align=itemsize, typ=vector) for place in vectors_at(b_now)]
    added = [builder.call(fma, [factor, line, total]) for line, total in zip(lines, sums)]
    step = builder.add(k, INT(1)), builder.gep(b_now, [b_row], source_etype=scalar)
    builder.branch(test)
    for phi, first, following in zip((k, b_now, *sums), (INT(0), b, *start), (*step, *added)):
        phi.add_incoming(first, before)
        phi.add_incoming(following, body)
    builder.position_at_end(leave)
    least = splat(builder, floor, lanes)
    for place, total in zip(vectors_at(c), sums):
        builder.store(builder.select(builder.fcmp_ordered(">", least, total), least, total), place, align=itemsize)


def _emit(function: ir.Function, scalar: ir.Type, itemsize: int) -> None:
    """All strips."""
    c, init, a, b, b_row, columns, depth, floor = function.args

    def strip(builder, first, vectors):
        goal, start, line = (builder.gep(pointer, [first], source_etype=scalar) for pointer in (c, init, b))
        _emit_strip(builder, scalar, itemsize, vectors, [goal, start, a, line, b_row, depth, floor])

    in_strips(function, columns, REGISTER_BYTES // itemsize, ROW_VECTORS, strip)


@intrinsic
def _row_above(typingctx, c, c_at, init, init_at, a, a_at, b, b_at, b_row, columns, depth, floor):
    n = types.intp
    signature = types.void(c, n, init, n, a, n, b, n, n, n, n, c.dtype)

    def codegen(context, builder, signature, args):
        dtype = signature.args[0].dtype
        scalar, itemsize = context.get_data_type(dtype), dtype.bitwidth // 8
        data = [data_of(context, builder, signature.args[i], args[i]) for i in (0, 2, 4, 6)]
        places = [builder.gep(array, [args[i]], source_etype=scalar) for array, i in zip(data, (1, 3, 5, 7))]
        kinds = [*[POINTER] * 4, INT, INT, INT, scalar]
        name = f"fastmlp_row_f{8 * itemsize}"
        function = own_function(context, builder, name, kinds, lambda function: _emit(function, scalar, itemsize))
        builder.call(function, [*places, *args[8:]])
        return context.get_dummy_value()

    return signature, codegen


@instead(_row_above)
def row_above(c, c_at, init, init_at, a, a_at, b, b_at, b_row, columns, depth, floor):
    """``c[n] = max(floor, init[n] + sum over k < depth of a[k] * b[k, n])`` for n < `columns`.

    c, init, a, b  flat arrays, each followed by the entry where it begins
    b_row          entries from a row of b to the next
    floor          0 for a ReLU, minus infinity for none; NaN is not below it

    Whole vectors are computed, of c, init and b. 2 N K flops.
    """
    lanes = REGISTER_BYTES // c.itemsize
    width = -(-columns // lanes) * lanes
    total = init[init_at : init_at + width].copy()
    for k in range(depth):
        total += a[a_at + k] * b[b_at + k * b_row : b_at + k * b_row + width]
    # Computed as the machine code does: in whole vectors, what is beyond `columns` too.
    c[c_at : c_at + width] = [floor if floor > x else x for x in total]
