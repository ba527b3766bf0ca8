"""The linear layer for a batch of one row: the numbers of :mod:`.linear` to the bit, from tiles of one row.

It has no views of arrays, and gets to a tile in 4 ns where the block for many rows takes 20. With it a step of 2-25-25-25-2
takes 840 ns instead of 1,150 (Zen 4). Of these, 210 are the transposed copies: ten squares at 75 cycles each, of which shuffles
take 50. To form the gradient takes 90 and to apply it 130, of which the stores are most: a line every two cycles.
"""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.block import block, call
from fastmlp.kernels.blocks.linear_fields import FIELDS, apply_gradient, floor_of, linear_backward_relu, transpose_weight
from fastmlp.kernels.compiler.intrinsics import least, matrix
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.op import ACCUMULATE, BACKWARD, FORWARD, PREPARE, UPDATE
from fastmlp.kernels.products.matmul import SAME
from fastmlp.kernels.products.outer import outer
from fastmlp.kernels.products.padding import clear_padding, clear_unwritten
from fastmlp.kernels.products.row import row_above

__all__ = ["linear_row", "row_task"]


@inner
def row_forward(op, job):
    """``y = x @ weight + bias``, above 0 with a fused ReLU."""
    w, x, y, stride = job.work, op.x, op.y, op.y_stride
    columns, depth, floor = op.width_out, op.width_in, floor_of(op, job)
    if op.units > depth:  # the bias is one more row of the weight
        w[x + depth] = w.dtype.type(1)
    if op.has_bias:
        row_above(w, y, job.params, op.bias, w, x, job.params, op.weight, stride, columns, depth, floor)
    else:
        row_above(w, y, w, job.run.zero, w, x, job.params, op.weight, stride, columns, depth, floor)


@inner
def row_backward_input(op, job):
    """``dx = dy @ weight.T``, from ``y = x @ weight + bias``."""
    w = job.work
    linear_backward_relu(op, job, 1, 0)
    if op.dx >= 0:
        none = w.dtype.type(-np.inf)
        row_above(w, op.dx, w, job.run.zero, w, op.dy, w, op.weight_t, op.x_stride, op.width_in, op.width_out, none)


@inner
def row_update(op, job, first, last):
    """``dweight = x.T @ dy`` and update of rows ``first .. last`` of the weight, and of its bias (by whoever has the first)."""
    w, stride, zero = job.work, op.y_stride, job.run.zero
    scratch = job.run.scratch + job.thread * job.run.scratch_size
    row = first
    while row < last:
        rows = least(op.gradient_rows, last - row)
        outer(w, scratch, stride, w, zero, SAME, w, op.x + row, rows, w, op.dy, op.width_out)
        clear_unwritten(matrix(w, scratch, rows, stride), op.width_out)
        apply_gradient(op, job, row, rows, scratch)
        if op.dx >= 0:
            transpose_weight(op, job, row, row + rows)
        row += rows
    if first == 0 and last > 0 and op.bias_apart:
        outer(w, scratch, stride, w, zero, SAME, w, job.run.one, 1, w, op.dy, op.width_out)
        clear_unwritten(matrix(w, scratch, 1, stride), op.width_out)
        call(job.ops[op.bias_optimizer], UPDATE, job, op.bias, stride, scratch)


@inner
def row_accumulate(op, job, first, rows):
    """Add the gradient of rows ``first .. first + rows`` of the weight to `grads`, and that of the bias."""
    w, grads, stride, columns = job.work, job.grads, op.y_stride, op.width_out
    at = op.weight + first * stride
    outer(grads, at, stride, grads, at, stride, w, op.x + first, rows, w, op.dy, columns)
    clear_padding(matrix(grads, at, rows, stride), columns)
    if first == 0 and rows > 0 and op.bias_apart:
        outer(grads, op.bias, stride, grads, op.bias, stride, w, job.run.one, 1, w, op.dy, columns)
        clear_padding(matrix(grads, op.bias, 1, stride), columns)


@inner
def row_task(task, op, job, row, rows):
    """The tasks that do not depend on how gradients are applied: FORWARD, BACKWARD and PREPARE."""
    if task == FORWARD:
        row_forward(op, job)
    elif task == BACKWARD:
        row_backward_input(op, job)
    elif task == PREPARE:
        transpose_weight(op, job, row, row + rows)


@block("linear_row", **FIELDS)
def linear_row(task, op, job, row, rows, at):
    """The tasks of :mod:`.linear` but FORWARD_FEATURE_MAJOR, which is for many rows."""
    if task == UPDATE:
        row_update(op, job, row, row + rows)
    elif task == ACCUMULATE:
        row_accumulate(op, job, row, rows)
    else:
        row_task(task, op, job, row, rows)
