"""The linear layer of wide networks: threads share the columns of its products, not the rows of a batch.

So a thread reads a part of the weights, for all rows. Shared by rows, each thread reads all of them, of which the other one has
just written half. What a product reads again and again is copied side by side before (:mod:`..products.panels`): some columns
of the weight forward, some rows of it transposed on the way back, which takes the place of the transposed copy, and the deltas,
which every few rows of a gradient read; and of the inputs what these rows read, transposed.

What that gave stands in docs/design.md.
"""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.block import block
from fastmlp.kernels.blocks.linear_fields import (
    FIELDS,
    PACKS,
    accumulate_bias_apart,
    apply_gradient,
    floor_of,
    linear_backward_relu,
    set_ones,
    update_bias_apart,
    zeros_of,
)
from fastmlp.kernels.blocks.vectors import scratch_of
from fastmlp.kernels.compiler.caches import level_2_bytes
from fastmlp.kernels.compiler.intrinsics import least, matrix, vector
from fastmlp.kernels.compiler.jit import inner, plain_loops
from fastmlp.kernels.op import ACCUMULATE, BACKWARD, BACKWARD_COLUMNS, FORWARD_COLUMNS, UNIT, UPDATE
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul, matmul_above
from fastmlp.kernels.products.padding import clear_padding, clear_unwritten
from fastmlp.kernels.products.panels import copy_panel, panel_width, transpose_panel
from fastmlp.kernels.products.transpose import transpose

__all__ = ["TURNED_STRIDE", "linear_wide", "wide_gradient_rows"]

#: Rows of the batch that go past a panel: more would not stay in the caches for the next one.
ROWS_AT_ONCE = np.int64(512)

#: From so many rows on a panel of the weight is worth its copy.
PANELS_FROM = np.int64(64)

#: Of the gradient, rows of the weight at a time, and rows of the batch. Their inputs may be transposed for it: what a tile of
#: four rows reads of a line of x as it lies is a quarter. Steps on two threads of a Zen 3 take 0.96 to 0.98 times as long as
#: with 256 rows whose inputs are only copied side by side.
GRADIENT_ROWS, GRADIENT_DEPTH = 64, 512

#: From a row of these to the next: more than a power of two, in whole lines.
TURNED_STRIDE = np.int64(GRADIENT_DEPTH + UNIT)


def wide_gradient_rows(row_bytes: int) -> int:
    """Rows of a gradient that fit the second-level cache, at most GRADIENT_ROWS."""
    unit = int(UNIT)
    return max(unit, min(GRADIENT_ROWS, level_2_bytes() // row_bytes // unit * unit))


@inner
def forward_columns(op, job, first, columns):
    """``y = x @ weight + bias``, above 0 with a fused ReLU: columns ``first .. first + columns`` of all rows."""
    w, stride, floor, width = job.work, op.y_stride, floor_of(op, job), panel_width(job.work)
    if first == 0 and columns > 0 and op.has_bias and not op.bias_apart:
        set_ones(op, job, job.rows, np.int64(0))
    biases, bias_at = (job.params, op.bias) if op.has_bias else (w, job.run.zero)
    panel_at = scratch_of(job)
    row = 0
    while row < job.rows:
        rows = least(ROWS_AT_ONCE, job.rows - row)
        x = matrix(w, op.x + row * op.x_stride, rows, op.x_stride)
        done = first
        while done < first + columns:
            by_panels = rows >= PANELS_FROM
            here = least(width, first + columns - done) if by_panels else columns
            y = matrix(w, op.y + row * stride + done, rows, stride)
            bias = matrix(biases, bias_at + done, 1, stride)
            weight = matrix(job.params, op.weight + done, op.width_in, stride)
            if by_panels:
                copy_panel(w, panel_at, job.params, op.weight + done, stride, op.width_in, here)
                weight = matrix(w, panel_at, op.width_in, width)
            matmul_above(y, bias, SAME, ADJACENT, x, op.x_stride, ADJACENT, weight, here, op.width_in, floor)
            done += here
        row += rows


@inner
def slope_and_panels(op, job, rows, at):
    """The slope of a fused ReLU, in place; then these rows of the deltas are copied to the panels."""
    w, stride, width = job.work, op.y_stride, panel_width(job.work)
    linear_backward_relu(op, job, rows, at)
    for done in range(0, op.width_out if op.panel_rows > 0 else 0, width):
        to = op.panels + done * op.panel_rows + at * width
        copy_panel(w, to, w, op.dy + at * stride + done, stride, rows, least(width, op.width_out - done))


@inner
def backward_columns(op, job, first, columns):
    """``dx = dy @ weight.T``: columns ``first .. first + columns`` of all rows."""
    w, stride, width = job.work, op.y_stride, panel_width(job.work)
    panel_at, zero = scratch_of(job), vector(w, job.run.zero, job.run.zero_stride)
    panel = matrix(w, panel_at, op.width_out, width)
    row = 0
    while row < job.rows:
        rows = least(ROWS_AT_ONCE, job.rows - row)
        dy = matrix(w, op.dy + row * stride, rows, stride)
        for done in range(first, first + columns, width):
            here = least(width, first + columns - done)
            transpose_panel(w, panel_at, job.params, op.weight + done * stride, stride, zero, here, op.width_out)
            dx = matrix(w, op.dx + row * op.x_stride + done, rows, op.x_stride)
            matmul(dx, zeros_of(op, job), SAME, dy, stride, ADJACENT, panel, here, op.width_out)
        row += rows


@inner
def gradient_of(op, job, target, at, init_row, row, rows, packed_at):
    """``dweight = init + x.T @ dy`` of the rows of the weight from `row` on, to `target`.

    `init` is zero where `init_row` is SAME, and what is there where it is the stride. Each entry is one chain of multiply-adds
    over the batch, in order.
    """
    w, stride, width = job.work, op.y_stride, panel_width(job.work)
    zeros, n = zeros_of(op, job), 0
    while n == 0 or n < job.rows:
        here = least(GRADIENT_DEPTH, job.rows - n)
        x, x_row, x_k = matrix(w, op.x + n * op.x_stride + row, here, op.x_stride), ADJACENT, op.x_stride
        if PACKS:
            turned = matrix(w, packed_at, rows, TURNED_STRIDE)
            transpose(turned, x, zeros, np.int64(0), here, rows)
            x, x_row, x_k = turned, TURNED_STRIDE, ADJACENT
        for done in range(0, op.width_out, width):
            part, columns = matrix(target, at + done, rows, stride), least(width, op.width_out - done)
            deltas = matrix(w, op.panels + done * op.panel_rows + n * width, here, width)
            matmul(part, zeros if init_row == SAME else part, init_row, x, x_row, x_k, deltas, columns, here)
        n, init_row = n + GRADIENT_DEPTH, stride


@inner
def update_rows(op, job, first, last):
    """Gradient and update of rows ``first .. last`` of the weight, and of its bias (by whoever has the first rows)."""
    stride, at = op.y_stride, scratch_of(job)
    row = first
    while row < last:
        rows = least(op.gradient_rows, last - row)
        gradient_of(op, job, job.work, at, SAME, row, rows, at + rows * stride)
        clear_unwritten(matrix(job.work, at, rows, stride), op.width_out)
        apply_gradient(op, job, row, rows, at)
        row += rows
    if first == 0 and last > 0 and op.bias_apart:
        update_bias_apart(op, job, at)


@inner
def accumulate_rows(op, job, first, last):
    """Add the gradient of rows ``first .. last`` of the weight to `grads`, and that of the bias."""
    stride = op.y_stride
    row = first
    while row < last:
        rows = least(op.gradient_rows, last - row)
        at = op.weight + row * stride
        gradient_of(op, job, job.grads, at, stride, row, rows, scratch_of(job))
        clear_padding(matrix(job.grads, at, rows, stride), op.width_out)
        row += rows
    if first == 0 and last > 0 and op.bias_apart:
        accumulate_bias_apart(op, job)


@block("linear_wide", **FIELDS)
@plain_loops
def linear_wide(task, op, job, row, rows, at):
    """The numbers of :mod:`.linear` to the bit."""
    if task == FORWARD_COLUMNS:
        forward_columns(op, job, row, rows)
    elif task == BACKWARD:
        slope_and_panels(op, job, rows, at)
    elif task == BACKWARD_COLUMNS:
        backward_columns(op, job, row, rows)
    elif task == UPDATE:
        update_rows(op, job, row, row + rows)
    elif task == ACCUMULATE:
        accumulate_rows(op, job, row, row + rows)
