"""Features less a centre, times a factor: numbers of the data, which are not trained."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.intrinsics import matrix
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, Memory, Op

__all__ = ["Standardize"]

_shift_and_scale = lines_pass(lambda x, centre, factor: (x - centre) * factor, inputs=3)
_scale = lines_pass(lambda dy, factor: dy * factor, inputs=2)


@inner
def standardize_forward(op, job, rows, at):
    """``y = (x - centre) * factor``."""
    x, y, stride, w = op.x + at * op.x_stride, op.y + at * op.y_stride, op.y_stride, job.work
    for n in range(rows):
        i = n * stride
        _shift_and_scale(stride, w, x + i, job.params, op.centre, job.params, op.factor, w, y + i, w, 0)


@inner
def standardize_forward_feature_major(op, job, at):
    """The same with the rows of the batch along the vectors."""
    columns = FEATURE_MAJOR_BYTES // job.work.itemsize
    x = matrix(job.work, op.x + at * op.x_stride, op.width_in, columns)
    y = matrix(job.work, op.y + at * op.y_stride, op.width_out, columns)
    for j in range(op.width_in):
        for i in range(columns):
            y[j, i] = (x[j, i] - job.params[op.centre + j]) * job.params[op.factor + j]


@inner
def standardize_backward(op, job, rows, at):
    """``dx = dy * factor``."""
    dx, dy, stride, w = op.dx + at * op.x_stride, op.dy + at * op.y_stride, op.y_stride, job.work
    for n in range(rows):
        _scale(stride, w, dy + n * stride, job.params, op.factor, w, dx + n * stride, w, 0)


@block("standardize", centre=np.int64, factor=np.int64)  # offsets in the parameters
def _standardize(task, op, job, row, rows, at):
    if task == FORWARD:
        standardize_forward(op, job, rows, at)
    elif task == BACKWARD:
        standardize_backward(op, job, rows, at)
    elif task == FORWARD_FEATURE_MAJOR:
        standardize_forward_feature_major(op, job, at)


class Standardize(Op):
    """Centres and factors are where these begin in the parameters."""

    block: Block = _standardize
    name = "standardize"
    in_place = by_rows = symmetric = True

    def __init__(self, width: int, centre: int, factor: int):
        super().__init__(width, width)
        self.centre, self.factor = centre, factor

    def tasks(self, record: Any) -> set[int]:
        return {FORWARD, FORWARD_FEATURE_MAJOR} | ({BACKWARD} if record.dx >= 0 else set())

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.centre, record.factor = self.centre, self.factor
