"""The derivatives of all outputs by all inputs: for each output, a way back whose delta is 1 there."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.block import Block, block, call
from fastmlp.kernels.blocks.moves import copy_rows
from fastmlp.kernels.compiler.intrinsics import vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.op import FORWARD, Op

__all__ = ["Jacobian"]


@inner
def seed(delta, stride, output, rows):
    """The delta of one output: 1 in its column, 0 in all others."""
    for i in range(rows * stride):
        delta[i] = delta.dtype.type(0)
    for n in range(rows):
        delta[n * stride + output] = delta.dtype.type(1)


@block(
    "jacobian",
    first=np.int64,  # the calls of a way back: from, to
    last=np.int64,
    inputs=np.int64,  # of the network
    delta=np.int64,  # of the input of the network, and its stride
    delta_stride=np.int64,
)
def _jacobian(task, op, job, row, rows, at):
    if task == FORWARD:
        size = op.width_in * op.inputs  # of a row's matrix, (O, I)
        for output in range(op.width_in):
            seed(vector(job.work, op.dx + at * op.x_stride, rows * op.x_stride), op.x_stride, output, rows)
            for c in range(op.first, op.last):
                chosen = job.calls[c]
                call(job.ops[chosen.op], chosen.task, job, row, rows, at)
            delta, place = op.delta + at * op.delta_stride, row * size + output * op.inputs
            copy_rows(job.y, place, size, job.work, delta, op.delta_stride, rows, op.inputs)


class Jacobian(Op):
    """``y[n, o] = d out[n, o] / d x[n]``, behind the last layer; a program fills in the calls and the delta of its input.

    Reads the trace of the rows at hand once for each output, while it is in the cache. Needs no memory for the rows of a batch.
    """

    block: Block = _jacobian
    name = "jacobian"

    def __init__(self, width: int):
        super().__init__(width, 0)

    def tasks(self, record: object) -> set[int]:
        return {FORWARD}
