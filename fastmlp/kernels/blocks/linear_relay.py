"""The linear layer in a relay (:mod:`.relay`): a thread has its rows of the batch, and a transposed copy of its own."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.block import block, call
from fastmlp.kernels.blocks.linear_fields import (
    FIELDS,
    apply_gradient,
    linear_backward_input,
    linear_forward,
    transpose_weight,
    zeros_of,
)
from fastmlp.kernels.blocks.vectors import scratch_of
from fastmlp.kernels.compiler.intrinsics import least, matrix
from fastmlp.kernels.compiler.jit import inner, plain_loops
from fastmlp.kernels.op import BACKWARD, FORWARD, PREPARE, UNIT, UPDATE
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul
from fastmlp.kernels.products.padding import clear_unwritten
from fastmlp.kernels.products.transpose import transpose

__all__ = ["linear_relay"]


@inner
def gradient(op, job, goal, init, init_row, rows, at):
    """``goal = init + x.T @ dy`` over so many rows: for each entry one chain of multiply-adds, in order."""
    n = np.int64(0)
    while n == 0 or n < rows:
        here = least(op.gradient_depth, rows - n)
        x = matrix(job.work, op.x + (at + n) * op.x_stride, here, op.x_stride)
        dy = matrix(job.work, op.dy + (at + n) * op.y_stride, here, op.y_stride)
        if op.transposed_gradient:
            matmul(goal, init, init_row, dy, ADJACENT, op.y_stride, x, op.units, here)
        else:
            matmul(goal, init, init_row, x, ADJACENT, op.x_stride, dy, op.width_out, here)
        init, init_row = goal, goal.shape[1]
        n += op.gradient_depth


@inner
def update(op, job, row, rows, at):
    """Add the gradient over a thread's rows to that of the threads before; with the last rows it is there, and is applied."""
    begins, ends, stride = row == 0, row + rows == job.rows, op.y_stride
    scratch_at = scratch_of(job)
    padded = (op.units + UNIT - 1) // UNIT * UNIT
    height, width = (op.width_out, padded) if op.transposed_gradient else (op.units, stride)
    goal = matrix(job.work, scratch_at + padded * stride * op.transposed_gradient if ends else op.relay, height, width)
    init = matrix(job.work, job.run.zero if begins else op.relay, height, width)
    gradient(op, job, goal, init, SAME if begins else width, rows, at)
    if ends:
        whole = matrix(job.work, scratch_at, op.units, stride)
        if op.transposed_gradient:
            transpose(whole, goal, zeros_of(op, job), SAME, op.width_out, op.units)
        else:
            clear_unwritten(whole, op.width_out)
        apply_gradient(op, job, np.int64(0), op.units, scratch_at)


@inner
def update_bias(op, job, row, rows, at):
    """The same of a bias that is no row of the weight: a product with a row of ones."""
    begins, ends, scratch_at = row == 0, row + rows == job.rows, scratch_of(job)
    goal = matrix(job.work, scratch_at if ends else op.relay_bias, 1, op.y_stride)
    init = matrix(job.work, job.run.zero if begins else op.relay_bias, 1, op.y_stride)
    dy = matrix(job.work, op.dy + at * op.y_stride, rows, op.y_stride)
    matmul(goal, init, SAME, matrix(job.work, job.run.one, 1, 1), SAME, SAME, dy, op.width_out, rows)
    if ends:
        clear_unwritten(goal, op.width_out)
        call(job.ops[op.bias_optimizer], UPDATE, job, op.bias, op.y_stride, scratch_at)


@block("linear_relay", **FIELDS)
@plain_loops
def linear_relay(task, op, job, row, rows, at):
    """The numbers of :mod:`.linear` to the bit."""
    if task == FORWARD:
        linear_forward(op, job, rows, at)
    elif task == BACKWARD:
        linear_backward_input(op, job, rows, at)
    elif task == UPDATE:
        update(op, job, row, rows, at)
        if op.bias_apart:
            update_bias(op, job, row, rows, at)
    elif task == PREPARE:
        transpose_weight(op, job, row, row + rows)
