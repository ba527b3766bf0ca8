"""The derivatives of all outputs by all inputs: a way back for each output, or a way forward for each input."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.block import Block, block, call
from fastmlp.kernels.blocks.moves import copy_rows
from fastmlp.kernels.compiler.intrinsics import vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.op import FORWARD, Op

__all__ = ["Jacobian"]


@inner
def seed(delta, stride, column, rows):
    """Delta = 1 in a column, 0 in all others."""
    for i in range(rows * stride):
        delta[i] = delta.dtype.type(0)
    for n in range(rows):
        delta[n * stride + column] = delta.dtype.type(1)


@inner
def copy_column(target, at, size, step, source, source_at, stride, rows, width):
    """Copy rows of `width` entries to every `step`-th entry of rows `size` apart."""
    for n in range(rows):
        for j in range(width):
            target[at + n * size + j * step] = source[source_at + n * stride + j]


@block(
    "jacobian",
    forward=np.int64,  # 1: derivatives by one input at a time, 0: of one output at a time
    first=np.int64,  # the calls of such a way: from, to
    last=np.int64,
    inputs=np.int64,  # of the network
    begin=np.int64,  # where its delta lies before, and after; their strides
    begin_stride=np.int64,
    end=np.int64,
    end_stride=np.int64,
)
def _jacobian(task, op, job, row, rows, at):
    if task == FORWARD:
        outputs, inputs = op.width_in, op.inputs
        place, size, end = row * outputs * inputs, outputs * inputs, op.end + at * op.end_stride
        for i in range(inputs if op.forward else outputs):
            seed(vector(job.work, op.begin + at * op.begin_stride, rows * op.begin_stride), op.begin_stride, i, rows)
            for c in range(op.first, op.last):
                chosen = job.calls[c]
                call(job.ops[chosen.op], chosen.task, job, row, rows, at)
            if op.forward:
                copy_column(job.y, place + i, size, inputs, job.work, end, op.end_stride, rows, outputs)
            else:
                copy_rows(job.y, place + i * inputs, size, job.work, end, op.end_stride, rows, inputs)


class Jacobian(Op):
    """``y[n, o] = d out[n, o] / d x[n]``, behind the last layer; a program fills in the calls.

    Reads the trace of the rows at hand once for each output (or input), while it is in the cache: no trace of a batch is kept.
    """

    block: Block = _jacobian
    name = "jacobian"

    def __init__(self, width: int):
        super().__init__(width, 0)

    def tasks(self, record: object) -> set[int]:
        return {FORWARD}
