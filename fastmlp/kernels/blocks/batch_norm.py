"""Batch normalisation: each feature less its mean, over its standard deviation, of the batch or of the past."""

from __future__ import annotations

from copy import copy
from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.vectors import VECTORS, VectorOp, add_gradient, bias_of, clear, hand_over, scratch_of, weight_of
from fastmlp.kernels.compiler.expression import muladd, sqrt
from fastmlp.kernels.compiler.intrinsics import matrix
from fastmlp.kernels.compiler.intrinsics import muladd as muladd_of
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES
from fastmlp.kernels.op import (
    ACCUMULATE,
    BACKWARD,
    FORWARD,
    FORWARD_FEATURE_MAJOR,
    GRADIENT_STATISTICS,
    STATISTICS,
    Memory,
    Op,
)

__all__ = ["BatchNorm"]

#: Rows in the workspace, a number for each feature: of the batch, or of the past.
MEAN, INVERSE, FACTOR, MEAN_DY, SLOPE, DWEIGHT, DBIAS = range(7)
KEPT = 7

_add = lines_pass(lambda total, x: total + x, inputs=2)
_add_square = lines_pass(lambda total, x, mean: muladd(x - mean, x - mean, total), inputs=3)
_scale = lines_pass(lambda x, factor: x * factor, inputs=1, constants=1)
_inverse_of = lines_pass(lambda variance, eps: 1 / sqrt(variance + eps), inputs=1, constants=1)
_multiply = lines_pass(lambda a, b: a * b, inputs=2)
_move_on = lines_pass(lambda before, new, share: muladd(share, new - before, before), inputs=2, constants=1)
_normalise = lines_pass(lambda x, mean, factor, bias: muladd(x - mean, factor, bias), inputs=4)
_sum_up = lines_pass(lambda b, w, dy, x, mean: (b + dy, muladd(dy, x - mean, w)), inputs=5, outputs=2)
_slope_of = lines_pass(lambda total, inverse, share: total * inverse * inverse * share, inputs=2, constants=1)
_backward = lines_pass(lambda dy, x, mean, factor, mean_dy, slope: (dy - mean_dy - (x - mean) * slope) * factor, inputs=6)


@inner
def row_of(op, which):
    """Where one of the rows of statistics lies in the workspace."""
    return op.statistics + which * op.y_stride


@inner
def put(job, at, value):
    """Write a number that a pass will read as a constant; returns its place."""
    job.work[at] = value
    return at


@inner
def past_statistics(op, job):
    """In evaluation mode: factors and inverse standard deviations of the past, in the scratch memory of this thread."""
    w, stride = job.work, op.y_stride
    scratch = scratch_of(job)
    constant = put(job, scratch + 2 * stride, w.dtype.type(op.eps))
    _inverse_of(stride, job.params, op.running_var, w, scratch + stride, w, constant)
    _multiply(stride, w, scratch + stride, weight_of(op, job), 0, w, scratch, w, 0)
    return scratch


@inner
def batch_norm_statistics(op, job, first, size):
    """Mean and variance of features ``first .. first + size`` over the batch: two passes, each sum in the order of the rows."""
    w, N = job.work, job.rows
    one = w.dtype.type(1)
    x, mean, inverse, factor = op.x + first, row_of(op, MEAN) + first, row_of(op, INVERSE) + first, row_of(op, FACTOR) + first
    constant = scratch_of(job)
    clear(w, mean, size)
    for n in range(N):
        _add(size, w, mean, w, x + n * op.x_stride, w, mean, w, 0)
    _scale(size, w, mean, w, mean, w, put(job, constant, one / w.dtype.type(N)))
    clear(w, inverse, size)
    for n in range(N):
        _add_square(size, w, inverse, w, x + n * op.x_stride, w, mean, w, inverse, w, 0)
    if op.momentum > 0:
        share = op.momentum
    elif op.momentum < 0:  # the mean of all batches so far
        share = 1.0 / (op.count + job.microbatch + 1)
    else:
        share = 0.0
    unbiased = put(job, constant, one / w.dtype.type(N - 1))
    _scale(size, w, inverse, w, factor, w, unbiased)
    put(job, constant, w.dtype.type(share))
    _move_on(size, job.params, op.running_mean + first, w, mean, job.params, op.running_mean + first, w, constant)
    _move_on(size, job.params, op.running_var + first, w, factor, job.params, op.running_var + first, w, constant)
    behind = max(first, op.width_in)
    clear(job.params, op.running_mean + behind, first + size - behind)
    clear(job.params, op.running_var + behind, first + size - behind)
    _scale(size, w, inverse, w, inverse, w, put(job, constant, one / w.dtype.type(N)))
    _inverse_of(size, w, inverse, w, inverse, w, put(job, constant, w.dtype.type(op.eps)))
    _multiply(size, w, inverse, weight_of(op, job), first, w, factor, w, 0)


@inner
def batch_norm_forward(op, job, rows, at):
    """``y = (x - mean) * factor + bias`` with ``factor = weight / sqrt(variance + eps)``."""
    x, y, w = op.x + at * op.x_stride, op.y + at * op.y_stride, job.work
    stride, bias = op.y_stride, bias_of(op, job)
    if op.training:
        mean, factor = row_of(op, MEAN), row_of(op, FACTOR)
        for n in range(rows):
            _normalise(stride, w, x + n * stride, w, mean, w, factor, bias, 0, w, y + n * stride, w, 0)
    else:
        factor = past_statistics(op, job)
        for n in range(rows):
            _normalise(stride, w, x + n * stride, job.params, op.running_mean, w, factor, bias, 0, w, y + n * stride, w, 0)


@inner
def batch_norm_forward_feature_major(op, job, at):
    """The same of the past, with the rows of the batch along the vectors."""
    columns = FEATURE_MAJOR_BYTES // job.work.itemsize
    x = matrix(job.work, op.x + at * op.x_stride, op.width_in, columns)
    y = matrix(job.work, op.y + at * op.y_stride, op.width_out, columns)
    bias, factor = bias_of(op, job), past_statistics(op, job)
    for j in range(op.width_in):
        for i in range(columns):
            y[j, i] = muladd_of(x[j, i] - job.params[op.running_mean + j], job.work[factor + j], bias[j])


@inner
def batch_norm_gradient_statistics(op, job, first, size):
    """The gradients of weight and bias, which the gradient of the input reads: sums over the batch, in the order of the rows.

    ``dbias = sum of dy``, ``dweight = sum of dy * (x - mean) / sqrt(variance + eps)``.
    """
    w = job.work
    one = w.dtype.type(1)
    dbias, dweight = row_of(op, DBIAS) + first, row_of(op, DWEIGHT) + first
    mean, inverse = row_of(op, MEAN) + first, row_of(op, INVERSE) + first
    clear(w, dbias, size)
    clear(w, dweight, size)
    for n in range(job.rows):
        dy, x = op.dy + first + n * op.y_stride, op.x + first + n * op.x_stride
        _sum_up(size, w, dbias, w, dweight, w, dy, w, x, w, mean, w, dbias, w, dweight, w, 0)
    share = put(job, scratch_of(job), one / w.dtype.type(job.rows))
    _scale(size, w, dbias, w, row_of(op, MEAN_DY) + first, w, share)
    _slope_of(size, w, dweight, w, inverse, w, row_of(op, SLOPE) + first, w, share)
    _multiply(size, w, dweight, w, inverse, w, dweight, w, 0)


@inner
def batch_norm_backward_input(op, job, rows, at):
    """``dx = factor * (dy - mean(dy) - d * mean(dy * d) / (variance + eps))``, d = x - mean; of the past, ``factor * dy``."""
    dx, dy, x, w = op.dx + at * op.x_stride, op.dy + at * op.y_stride, op.x + at * op.x_stride, job.work
    stride = op.y_stride
    if op.dx < 0:  # only the gradient of the parameters is wanted
        return
    if op.training:
        mean, factor = row_of(op, MEAN), row_of(op, FACTOR)
        mean_dy, slope = row_of(op, MEAN_DY), row_of(op, SLOPE)
        for n in range(rows):
            i = n * stride
            _backward(stride, w, dy + i, w, x + i, w, mean, w, factor, w, mean_dy, w, slope, w, dx + i, w, 0)
    else:
        factor = past_statistics(op, job)
        for n in range(rows):
            _multiply(stride, w, dy + n * stride, w, factor, w, dx + n * stride, w, 0)


@inner
def batch_norm_backward_params(op, job, first, size):
    """In evaluation mode, the gradients of weight and bias of some features, where training has them.

    The sums go on over the micro-batches of a step; what is handed over are those of the weight times the factor, in SLOPE.
    """
    w = job.work
    dbias, dweight = row_of(op, DBIAS) + first, row_of(op, DWEIGHT) + first
    factor = past_statistics(op, job)
    if job.step_row == 0:
        clear(w, dbias, size)
        clear(w, dweight, size)
    for n in range(job.rows):
        dy, x = op.dy + first + n * op.y_stride, op.x + first + n * op.x_stride
        _sum_up(size, w, dbias, w, dweight, w, dy, w, x, job.params, op.running_mean + first, w, dbias, w, dweight, w, 0)
    _multiply(size, w, dweight, w, factor + op.y_stride + first, w, row_of(op, SLOPE) + first, w, 0)


@inner
def batch_norm_hand_over(task, op, job, first, size):
    """Update weight and bias by their gradients, or add these to `grads`."""
    dweight, dbias = row_of(op, DWEIGHT) + first, row_of(op, DBIAS) + first
    if not op.training:
        batch_norm_backward_params(op, job, first, size)
        dweight = row_of(op, SLOPE) + first
    added = task == ACCUMULATE and (op.training or job.step_row == 0)
    if op.has_weight:
        if added:
            add_gradient(job, op.weight, first, size, op.width_in, dweight)
        hand_over(task, job, op.optimizer, op.weight, first, size, op.width_in, dweight)
    if op.has_bias:
        if added:
            add_gradient(job, op.bias, first, size, op.width_in, dbias)
        hand_over(task, job, op.bias_optimizer, op.bias, first, size, op.width_in, dbias)


@block(
    "batch_norm",
    **VECTORS,
    training=np.int64,  # 1: statistics of the batch; 0: those of the past
    statistics=np.int64,  # offset of the rows of statistics
    running_mean=np.int64,  # offsets in the parameters
    running_var=np.int64,
    eps=np.float64,
    momentum=np.float64,  # -1: the mean of all batches
    count=np.int64,  # batches before the first step
)
def _batch_norm(task, op, job, row, rows, at):
    if task == FORWARD:
        batch_norm_forward(op, job, rows, at)
    elif task == BACKWARD:
        batch_norm_backward_input(op, job, rows, at)
    elif task == STATISTICS:
        batch_norm_statistics(op, job, row, rows)
    elif task == GRADIENT_STATISTICS:
        batch_norm_gradient_statistics(op, job, row, rows)
    elif task == FORWARD_FEATURE_MAJOR:
        batch_norm_forward_feature_major(op, job, at)
    else:  # UPDATE or ACCUMULATE
        batch_norm_hand_over(task, op, job, row, rows)


class BatchNorm(VectorOp):
    """Batch normalisation; where weight, bias (or -1) and the running statistics begin in the parameters."""

    block: Block = _batch_norm
    name = "batch_norm"

    def __init__(
        self,
        width: int,
        weight: int,
        bias: int,
        running_mean: int,
        running_var: int,
        eps: float,
        momentum: float | None,
        counter: tuple[Any, str] | None,
    ):
        super().__init__(width, weight, bias)
        self.running_mean, self.running_var, self.eps, self.momentum = running_mean, running_var, eps, momentum
        self.counter = counter  # None in evaluation mode
        self.symmetric = counter is None

    def evaluated(self) -> list[Op]:
        if self.counter is None:
            return [self]
        past = copy(self)
        past.counter, past.symmetric = None, True
        return [past]

    def tasks(self, record: Any) -> set[int]:
        tasks = super().tasks(record)
        if self.counter is None:
            return tasks
        wanted = record.dx >= 0 or self.has_parameters
        return (tasks | {STATISTICS} | ({GRADIENT_STATISTICS, BACKWARD} if wanted else set())) - {FORWARD_FEATURE_MAJOR}

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.training = self.counter is not None
        record.running_mean, record.running_var, record.eps = self.running_mean, self.running_var, self.eps
        record.momentum = -1.0 if self.momentum is None else self.momentum
        record.statistics = memory.take(KEPT * record.y_stride)
        memory.want_scratch(2 * record.y_stride + memory.lanes)
