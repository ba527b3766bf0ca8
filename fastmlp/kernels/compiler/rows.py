"""A formula over the numbers of one row, with totals: sums, or the largest number, in explicit vectors.

LLVM vectorises no sum, since that would add in another order. The order here is that of no loop: a total is kept for each entry
of a line, over the lines of the row, and in the end the totals of the one half of the line are added to those of the other, and
so on. So it depends on nothing but the length of the row: not on its place, nor on the vectors that a processor has.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba.core import cgutils

from fastmlp.kernels.compiler.intrinsics import splat
from fastmlp.kernels.compiler.lines import LINE_BYTES, as_tuple, check_count, goals, instead_of, repeated_constants
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.compiler.value import LLVM, Value, as_llvm

__all__ = ["LARGEST", "SUM", "row_pass"]

INDEX, SHORT = ir.IntType(64), ir.IntType(32)


class Total(NamedTuple):
    """How numbers become one: what a total begins with, two of them in NumPy, and in LLVM."""

    start: float
    add: Callable[[Any, Any], Any]
    emit: Callable[[ir.IRBuilder, ir.Value, ir.Value], ir.Value]


def _larger(builder, a, b):
    return builder.select(builder.fcmp_ordered(">", b, a), b, a)


SUM = Total(0.0, np.add, lambda builder, a, b: builder.fadd(a, b))
#: NaN is passed over.
LARGEST = Total(-np.inf, np.fmax, _larger)


def row_pass(
    formula: Callable, inputs: int, outputs: int = 0, constants: int = 0, totals: int = 1, total: Total = SUM
) -> Callable:
    """A function for kernels: ``run(size, in0, at0, ..., out0, at0, ..., c, at, t, at)``, over the `size` entries of a row.

    ``formula(*inputs, *constants)`` gives the outputs, then the numbers whose totals are written to adjacent entries of `t`.
    `size` is any number. Whole lines are read and written, and what lies behind the row in the last one has no part in the
    totals, whatever it is; outputs become zero there. The totals may be written over the constants. Else as
    :func:`.lines.lines_pass`.
    """
    kinds = [*(f"in{k}" for k in range(inputs)), *(f"out{k}" for k in range(outputs)), "c", "t"]
    names = ["size", *chain.from_iterable((kind, f"at_{kind}") for kind in kinds)]

    def run(size, *arguments):
        check_count(names, size, *arguments)
        *given, (numbers, first), (t, at_t) = zip(arguments[::2], arguments[1::2])
        lanes = LINE_BYTES // t.itemsize
        padded = -(-size // lanes) * lanes
        parts = [array[at : at + padded] for array, at in given]
        with np.errstate(all="ignore"):  # as machine code
            results = as_tuple(formula(*parts[:inputs], *(numbers[first + k] for k in range(constants))), outputs + totals)
            values = [np.array(np.broadcast_to(x, padded), t.dtype) for x in results]  # an input may be among them
            for part, value in zip(parts[inputs:], values):
                value[size:] = 0
                part[...] = value
            for k, value in enumerate(values[outputs:]):
                value[size:] = total.start
                t[at_t + k] = _total(value.reshape(-1, lanes), total)

    def starts(builder, arrays, arguments, start):
        return [start(array, at) for array, at in zip(arrays, arguments[1::2])]

    def write(function, dtype):
        itemsize, lanes, vectors = dtype.itemsize, REGISTER_BYTES // dtype.itemsize, LINE_BYTES // REGISTER_BYTES
        vector = ir.VectorType(LLVM[dtype], lanes)
        size, *pointers, numbers, t = function.args
        builder = ir.IRBuilder(function.append_basic_block("entry"))
        repeated = repeated_constants(builder, numbers, constants, dtype)
        pointers[inputs:] = goals(builder, pointers[inputs:])
        start, zero = ir.Constant(vector, [total.start] * lanes), ir.Constant(vector, None)
        kept = [[cgutils.alloca_once_value(builder, start) for _ in range(vectors)] for _ in range(totals)]

        def line(number, left=None):
            """One line; the last one, of which `left` entries are of the row, by itself."""
            first = builder.mul(number, INDEX(vectors))
            shifts = [builder.add(first, INDEX(v)) for v in range(vectors)]
            rows = [[builder.gep(pointer, [shift], source_etype=vector) for pointer in pointers] for shift in shifts]
            loaded = [[builder.load(place, typ=vector, align=itemsize) for place in row[:inputs]] for row in rows]
            numbers = [[Value(builder, dtype, x) for x in row] for row in loaded]
            results = [as_tuple(formula(*row, *repeated), outputs + totals) for row in numbers]
            for v, (row, values) in enumerate(zip(rows, results)):
                emitted = [as_llvm(x, dtype, lanes) for x in values]
                of_row = None
                if left is not None:
                    places = ir.Constant(ir.VectorType(INDEX, lanes), list(range(v * lanes, (v + 1) * lanes)))
                    of_row = builder.icmp_signed("<", places, splat(builder, left, lanes))
                for place, value in zip(row[inputs:], emitted):
                    builder.store(value if of_row is None else builder.select(of_row, value, zero), place, align=itemsize)
                for of_total, value in zip(kept, emitted[outputs:]):
                    counted = value if of_row is None else builder.select(of_row, value, start)
                    builder.store(total.emit(builder, builder.load(of_total[v], typ=vector), counted), of_total[v])

        whole = builder.sdiv(size, INDEX(LINE_BYTES // itemsize))
        with cgutils.for_range(builder, whole) as loop:
            line(loop.index)
        left = builder.srem(size, INDEX(LINE_BYTES // itemsize))
        with builder.if_then(builder.icmp_signed(">", left, INDEX(0))):
            line(whole, left)
        for k, of_total in enumerate(kept):
            sums = [builder.load(x, typ=vector) for x in of_total]
            builder.store(_emit_total(builder, sums, total), builder.gep(t, [INDEX(k)], source_etype=vector.element))
        builder.ret_void()

    return instead_of(run, names, inputs + outputs + 2, starts, write)


def _total(lines: np.ndarray, total: Total) -> Any:
    """One number of some lines."""
    kept = np.full(lines.shape[1], total.start, lines.dtype)
    for line in lines:
        kept = total.add(kept, line)
    while len(kept) > 1:
        kept = total.add(kept[: len(kept) // 2], kept[len(kept) // 2 :])
    return kept[0]


def _emit_total(builder: ir.IRBuilder, parts: list[ir.Value], total: Total) -> ir.Value:
    """One number of the vectors of a line."""
    while len(parts) > 1:
        parts = [total.emit(builder, a, b) for a, b in zip(parts, parts[len(parts) // 2 :])]
    (kept,) = parts
    lanes = kept.type.count
    while lanes > 1:
        lanes //= 2
        half = [
            builder.shuffle_vector(kept, kept, ir.Constant(ir.VectorType(SHORT, lanes), list(range(k, k + lanes))))
            for k in (0, lanes)
        ]
        kept = total.emit(builder, *half)
    return builder.extract_element(kept, SHORT(0))
