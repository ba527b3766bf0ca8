"""Dropout: numbers left out by chance. Which ones is a function of (seed, pass forward, row of it, feature) alone."""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.intrinsics import fused_multiply_add, matrix, own_function, splat
from fastmlp.kernels.compiler.jit import inner, instead
from fastmlp.kernels.compiler.numba_private import data_of, shape_of
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD, Memory, Op
from fastmlp.kernels.shuffle import mix

__all__ = ["Dropout", "drop", "keys_of"]

INT, SHORT = ir.IntType(64), ir.IntType(32)
u64 = np.uint64

#: Between the numbers of two rows: odd and large, so that rows of whatever width have others, but by rare chance.
ROW_STEP = 0x9E3779B1

#: Of the numbers that a seed gives; shuffles have 0.
STREAM = np.int64(1)


@inner
def keys_of(seed, step):
    """Two keys of a step, of 31 and 32 bits, as one number."""
    return np.int64(u64(mix(u64(mix(u64(seed), STREAM)), step)) >> u64(1))


#: A permutation of the 32-bit numbers: shift and xor, multiply, and so on. C. Wellons, "hash-prospector": the one of least bias
#: among those with two products. It is applied twice, each time to what has been combined with a key.
SHIFTS, FACTORS = (16, 15, 15), (0x21F0AAAD, 0xD35A2D97)


def _emit_scrambled(builder, x):
    lanes = x.type.count

    def constant(number):
        return ir.Constant(x.type, [number] * lanes)

    for shift, factor in zip(SHIFTS, (*FACTORS, None)):
        x = builder.xor(x, builder.lshr(x, constant(shift)))
        x = x if factor is None else builder.mul(x, constant(factor))
    return x


def _emit_drop(function, entry, itemsize):
    """LLVM made vectors of 64-bit numbers of a loop over entries: 0.6 ns for each instead of 0.2."""
    builder = ir.IRBuilder(function.append_basic_block("entry"))
    y, x, rows, stride, first, keys, kept, factor, shift, other = function.args
    lanes = REGISTER_BYTES // itemsize
    vector = ir.VectorType(entry, lanes)
    one, two = builder.trunc(builder.lshr(keys, INT(32)), SHORT), builder.trunc(keys, SHORT)
    one, two, kept = (splat(builder, number, lanes) for number in (one, two, builder.trunc(kept, SHORT)))
    factor, shift, other = (splat(builder, number, lanes) for number in (factor, shift, other))
    numbers = ir.Constant(ir.VectorType(SHORT, lanes), list(range(lanes)))
    fma = fused_multiply_add(builder.module, vector, itemsize)
    vectors = builder.sdiv(stride, INT(lanes))
    with cgutils.for_range(builder, rows) as row:
        start = builder.mul(builder.trunc(builder.add(first, row.index), SHORT), SHORT(ROW_STEP))
        place = builder.mul(row.index, vectors)
        with cgutils.for_range(builder, vectors) as loop:
            at = builder.add(start, builder.trunc(builder.mul(loop.index, INT(lanes)), SHORT))
            entries = builder.add(splat(builder, at, lanes), numbers)
            bits = _emit_scrambled(builder, builder.xor(_emit_scrambled(builder, builder.xor(entries, one)), two))
            here = builder.add(place, loop.index)
            given = builder.load(builder.gep(x, [here], source_etype=vector), typ=vector, align=itemsize)
            scaled = builder.call(fma, [given, factor, shift])
            chosen = builder.select(builder.icmp_unsigned("<", bits, kept), scaled, other)
            builder.store(chosen, builder.gep(y, [here], source_etype=vector), align=itemsize)
    builder.ret_void()


@intrinsic
def _drop(typingctx, y, x, first, keys, kept, factor, shift, other):
    def codegen(context, builder, signature, args):
        itemsize, entry = y.dtype.bitwidth // 8, context.get_data_type(y.dtype)
        kinds = [ir.PointerType(), ir.PointerType(), INT, INT, INT, INT, INT, entry, entry, entry]
        name = f"fastmlp_drop_f{8 * itemsize}"
        function = own_function(context, builder, name, kinds, lambda function: _emit_drop(function, entry, itemsize))
        data = [data_of(context, builder, kind, array) for kind, array in zip(signature.args, args[:2])]
        builder.call(function, [*data, *shape_of(context, builder, y, args[0]), *args[2:]])
        return context.get_dummy_value()

    n, number = types.int64, y.dtype
    return types.void(y, x, n, n, n, number, number, number), codegen


def _scrambled(x):
    for shift, factor in zip(SHIFTS, (*FACTORS, None)):
        x = x ^ (x >> np.uint32(shift))
        x = x if factor is None else x * np.uint32(factor)
    return x


@instead(_drop)
def drop(y, x, first, keys, kept, factor, shift, other):
    """``y = factor * x + shift`` where an entry is kept, else `other`.

    y, x (rows, padded width), rows ``first ..`` of the batch. Entry j of row n is kept where the 32 bits drawn for it are below
    `kept`; they come of the number ``ROW_STEP * n + j``, whatever the dtype.
    """
    one, two = np.uint32(int(keys) >> 32), np.uint32(int(keys) & 0xFFFFFFFF)
    rows = np.arange(first, first + len(y)).astype(np.uint32)[:, None] * np.uint32(ROW_STEP)
    bits = _scrambled(_scrambled((rows + np.arange(y.shape[1]).astype(np.uint32)) ^ one) ^ two)
    y[:] = np.where(bits < np.uint32(kept), x * factor + shift, other)


@block(
    "dropout",
    seed=np.int64,
    count=np.int64,  # passes forward before the first one
    kept=np.int64,  # of 2^32 numbers
    factor=np.float64,
    shift=np.float64,
    other=np.float64,
)
def _dropout(task, op, job, row, rows, at):
    number, stride = job.work.dtype.type, op.y_stride
    start = at * stride
    keys = keys_of(op.seed, op.count + job.microbatch)
    if task == FORWARD:
        x, y = matrix(job.work, op.x + start, rows, stride), matrix(job.work, op.y + start, rows, stride)
        drop(y, x, row, keys, op.kept, number(op.factor), number(op.shift), number(op.other))
    elif task == BACKWARD:
        dx, dy = matrix(job.work, op.dx + start, rows, stride), matrix(job.work, op.dy + start, rows, stride)
        drop(dx, dy, row, keys, op.kept, number(op.factor), number(0), number(0))


class Dropout(Op):
    """``y = factor * x + shift`` with probability `kept` / 2^32, else `other`; in evaluation mode, x."""

    block: Block = _dropout
    name = "dropout"
    in_place = by_rows = True

    def __init__(self, width: int, seed: int, kept: int, factor: float, shift: float, other: float, counter: tuple[Any, str]):
        super().__init__(width, width)
        self.seed, self.kept, self.counter = seed, kept, counter
        self.factor, self.shift, self.other = factor, shift, other

    def evaluated(self) -> list[Op]:
        return []

    def tasks(self, record: Any) -> set[int]:
        return {FORWARD} | ({BACKWARD} if record.dx >= 0 else set())

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.seed, record.kept = self.seed, self.kept
        record.factor, record.shift, record.other = self.factor, self.shift, self.other
