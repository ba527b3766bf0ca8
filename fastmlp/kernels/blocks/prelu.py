"""The parametric rectifier: a learned slope below zero, one for each feature or one for all."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.vectors import VECTORS, VectorOp, add_gradient, begin_sums, clear, hand_over, scratch_of
from fastmlp.kernels.compiler.expression import muladd, select
from fastmlp.kernels.compiler.intrinsics import matrix
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.compiler.rows import row_pass
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES
from fastmlp.kernels.op import ACCUMULATE, BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, Memory

__all__ = ["PReLU"]


def value(x, weight):
    """The output."""
    return select(x > 0, x, weight * x)


def gradient(dy, x, weight):
    """The gradient by x."""
    return select(x > 0, dy, weight * dy)


def summed(dy, x, dweight):
    """The gradient by the weight, with one more row."""
    return select(x > 0, dweight, muladd(dy, x, dweight))


def same(x):
    """The number itself."""
    return x


# Each with a slope for each feature, an input, and with one for all, a constant.
_rectify, _rectify_by_one = lines_pass(value, inputs=2), lines_pass(value, inputs=1, constants=1)
_gradient, _gradient_by_one = lines_pass(gradient, inputs=3), lines_pass(gradient, inputs=2, constants=1)
_add, _sum_features = lines_pass(summed, inputs=3), row_pass(same, inputs=1)


@inner
def prelu_forward(op, job, rows, at):
    """``y = x where x > 0, else weight * x``."""
    x, y, w = op.x + at * op.x_stride, op.y + at * op.y_stride, job.work
    if op.shared:
        _rectify_by_one(rows * op.y_stride, w, x, w, y, job.params, op.weight)
    else:
        for n in range(rows):
            _rectify(op.y_stride, w, x + n * op.x_stride, job.params, op.weight, w, y + n * op.y_stride, w, 0)


@inner
def prelu_forward_feature_major(op, job, at):
    """The same with the rows of the batch along the vectors."""
    columns = FEATURE_MAJOR_BYTES // job.work.itemsize
    x = matrix(job.work, op.x + at * op.x_stride, op.width_in, columns)
    y = matrix(job.work, op.y + at * op.y_stride, op.width_out, columns)
    zero = job.work.dtype.type(0)
    for j in range(op.width_in):
        weight = job.params[op.weight + (0 if op.shared else j)]
        for i in range(columns):
            y[j, i] = x[j, i] if x[j, i] > zero else weight * x[j, i]


@inner
def prelu_backward_input(op, job, rows, at):
    """``dx = dy where x > 0, else weight * dy``."""
    x, dx, dy, w = op.x + at * op.x_stride, op.dx + at * op.x_stride, op.dy + at * op.y_stride, job.work
    if op.shared:
        _gradient_by_one(rows * op.y_stride, w, dy, w, x, w, dx, job.params, op.weight)
    else:
        for n in range(rows):
            shift = n * op.y_stride
            _gradient(op.y_stride, w, dy + shift, w, x + shift, job.params, op.weight, w, dx + shift, w, 0)


@inner
def prelu_backward_params(task, op, job, first, size):
    """``dweight = sum over the batch of dy * x where x <= 0``, of features ``first .. first + size``.

    One chain of multiply-adds over the batch for each feature, in order; a slope for all features has the sum of theirs. These
    chains go on over the micro-batches of a step.
    """
    w, dweight = job.work, op.sums if op.shared else scratch_of(job)
    if not op.shared:
        begin_sums(task, job, op.weight, first, size, op.width_in, dweight)
    elif job.step_row == 0:
        clear(w, dweight, size)
    for n in range(job.rows):
        _add(size, w, op.dy + n * op.y_stride + first, w, op.x + n * op.x_stride + first, w, dweight, w, dweight, w, 0)
    if op.shared:
        total = scratch_of(job)
        _sum_features(op.width_in, w, dweight, w, total, w, total)
        if task == ACCUMULATE and job.step_row == 0:
            add_gradient(job, op.weight, 0, op.slopes, 1, total)
        hand_over(task, job, op.optimizer, op.weight, 0, op.slopes, 1, total)
    else:
        hand_over(task, job, op.optimizer, op.weight, first, size, op.width_in, dweight)


@block("prelu", shared=np.int64, slopes=np.int64, sums=np.int64, **VECTORS)  # sums: the offset of those of a shared slope
def _prelu(task, op, job, row, rows, at):
    if task == FORWARD:
        prelu_forward(op, job, rows, at)
    elif task == BACKWARD:
        prelu_backward_input(op, job, rows, at)
    elif task == FORWARD_FEATURE_MAJOR:
        prelu_forward_feature_major(op, job, at)
    elif rows > 0 and op.shared:  # the one unit
        prelu_backward_params(task, op, job, 0, op.y_stride)
    elif rows > 0:
        prelu_backward_params(task, op, job, row, rows)


class PReLU(VectorOp):
    """``y = x where x > 0, else weight * x``; with `shared`, the weight is one number."""

    block: Block = _prelu
    name = "prelu"
    symmetric = True

    def __init__(self, width: int, weight: int, shared: bool):
        super().__init__(width, weight)
        self.shared = shared

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.shared, record.slopes = self.shared, memory.lanes  # what a parameter of one number takes
        if self.shared:
            record.units, record.sums = 1, memory.take(record.y_stride)
