"""A formula for parameters whose gradient is the product of a column and a row, which is never written down.

That is the gradient of a weight for a batch of one row. Each entry of it is the one fused multiply-add that :mod:`.outer` has,
and the formula is the one of :func:`~.compiler.lines.update_pass`, so results are the same to the bit. It is the same product
for the transposed copy of the weight, with column and row exchanged: where a formula has no state, the copy can be updated as
the weight is, instead of being made anew. For 26 x 25 gradient, update and transposed copy take 165 ns, two of these 100
(Zen 4), of which 80 are the multiply-adds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from fastmlp.kernels.compiler.intrinsics import fused_multiply_add, splat
from fastmlp.kernels.compiler.lines import as_tuple, check_count, goals, instead_of, repeated_constants
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.compiler.value import LLVM, Value, as_llvm
from fastmlp.kernels.products.strips import in_strips

__all__ = ["outer_update_pass"]

#: Vectors of b that stay in registers while all rows go past them: 1 to 8 make no difference of more than 5 %.
STRIP_VECTORS = 2

INT = ir.IntType(64)


def outer_update_pass(formula: Callable, constants: int) -> Callable:
    """``run(rows, columns, stride, p, at_p, a, at_a, b, at_b, c, at_c)``: ``p[m, n] = formula(p[m, n], a[m] * b[n], *c)``.

    For m < `rows` and n < `columns`. Arrays are flat, each followed by the entry where it begins; from a row of p to the next
    there are `stride` entries. Whole vectors are read and written: the gradient is 0 beyond `columns`, whatever b is there.
    Else as :func:`~.compiler.lines.lines_pass`.
    """
    names = ["rows", "columns", "stride", "p", "at_p", "a", "at_a", "b", "at_b", "c", "at_c"]

    def run(*arguments):
        check_count(names, *arguments)
        rows, columns, stride, p, at_p, a, at_a, b, at_b, c, at_c = arguments
        lanes = REGISTER_BYTES // p.itemsize
        width = -(-columns // lanes) * lanes
        line = b[at_b : at_b + width].copy()
        line[columns:] = 0
        numbers = [c[at_c + k] for k in range(constants)]
        with np.errstate(all="ignore"):  # as machine code
            for m in range(rows):
                part = p[at_p + m * stride : at_p + m * stride + width]
                (part[...],) = as_tuple(formula(part, a[at_a + m] * line + p.dtype.type(0), *numbers), 1)

    def starts(builder, arrays, arguments, start):
        return [start(array, at) for array, at in zip(arrays, arguments[1::2])]

    def write(function, dtype):
        rows, columns, stride, p, a, b, c = function.args
        itemsize, lanes = dtype.itemsize, REGISTER_BYTES // dtype.itemsize
        scalar = LLVM[dtype]
        vector = ir.VectorType(scalar, lanes)
        fma, zeros = fused_multiply_add(function.module, vector, itemsize), ir.Constant(vector, None)

        def strip(builder, first, vectors):
            def at(pointer, index):
                return builder.gep(pointer, [index], source_etype=scalar)

            repeated = repeated_constants(builder, c, constants, dtype)
            line, shifts = at(b, first), [INT(v * lanes) for v in range(vectors)]
            numbers = [builder.load(at(line, shift), align=itemsize, typ=vector) for shift in shifts]
            places = ir.Constant(ir.VectorType(INT, lanes), [(vectors - 1) * lanes + lane for lane in range(lanes)])
            inside = builder.icmp_signed("<", places, splat(builder, builder.sub(columns, first), lanes))
            numbers[-1] = builder.select(inside, numbers[-1], zeros)
            (goal,) = goals(builder, [p])
            with cgutils.for_range(builder, rows, intp=INT) as loop:
                factor = splat(builder, builder.load(at(a, loop.index), typ=scalar), lanes)
                start = builder.add(first, builder.mul(loop.index, stride))
                before = [builder.load(at(at(p, start), shift), align=itemsize, typ=vector) for shift in shifts]
                for shift, value, number in zip(shifts, before, numbers):
                    gradient = Value(builder, dtype, builder.call(fma, [factor, number, zeros]))
                    (after,) = as_tuple(formula(Value(builder, dtype, value), gradient, *repeated), 1)
                    builder.store(as_llvm(after, dtype, lanes), at(at(goal, start), shift), align=itemsize)

        in_strips(function, columns, lanes, STRIP_VECTORS, strip)

    return instead_of(run, names, 4, starts, write, sizes=3)
