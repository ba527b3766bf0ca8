"""Products of one row, cut into strips of as many vectors as stay in registers, emitted as LLVM vector IR."""

from __future__ import annotations

from collections.abc import Callable

from llvmlite import ir
from numba.core import cgutils

__all__ = ["in_strips"]

INT = ir.IntType(64)


def in_strips(
    function: ir.Function, columns: ir.Value, lanes: int, most: int, emit: Callable[[ir.IRBuilder, ir.Value, int], None]
) -> None:
    """Write a function that takes `columns` in strips, each of the vectors that are left, at most `most`.

    ``emit(builder, first, vectors)`` writes what a strip of so many vectors from column `first` on needs, for each number of
    vectors once. It may end in a block of its own.
    """
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    vectors = builder.sdiv(builder.add(columns, INT(lanes - 1)), INT(lanes))
    with cgutils.for_range_slice(builder, INT(0), vectors, INT(most), intp=INT) as (done, _):
        left, first = builder.sub(vectors, done), builder.mul(done, INT(lanes))
        behind, whole = (function.append_basic_block(name) for name in ("behind", "whole"))
        choice = builder.switch(left, whole)
        for count in range(1, most + 1):
            here = whole
            if count < most:
                here = function.append_basic_block(f"strip_{count}")
                choice.add_case(INT(count), here)
            builder.position_at_end(here)
            emit(builder, first, count)
            builder.branch(behind)
        builder.position_at_end(behind)
    builder.ret_void()
