"""One pass through a whole network: forward over many rows, and back to the gradients of all parameters.

The entry points take the plan and the operations of a program in one `table`: every array that Python hands to a kernel costs
70 ns, and the prediction of a row takes 2 us in all.
"""

from __future__ import annotations

from fastmlp.kernels.activations import copy
from fastmlp.kernels.columns import COLUMNS_BYTES, forward_columns, spread_biases
from fastmlp.kernels.compiler.intrinsics import matrix, vector
from fastmlp.kernels.compiler.jit import announced, inner, kernel
from fastmlp.kernels.compiler.processor import REGISTER_BYTES
from fastmlp.kernels.engine import (
    BATCH,
    BIAS,
    BIAS_APART,
    BLOCK,
    CODE,
    COLUMN_COST,
    DY,
    INPUT,
    INPUT_DELTA,
    INPUT_STRIDE,
    INPUT_WIDTH,
    KEEP,
    LINEAR,
    NARROW,
    ONE,
    OP_SIZE,
    OUT,
    OUTPUT,
    OUTPUT_DELTA,
    OUTPUT_STRIDE,
    OUTPUT_WIDTH,
    PLAN_SIZE,
    ROW_COST,
    ROWS,
    WEIGHT,
    X_STRIDE,
    Y_STRIDE,
    X,
    backward_rows,
    forward_rows,
    transpose_weights,
)
from fastmlp.kernels.linear import bias_backward
from fastmlp.kernels.products.matmul import ADJACENT, matmul
from fastmlp.kernels.threads import ROW_TASKS, next_task

__all__ = ["backward_pass", "forward_pass", "forward_share"]


@inner
def plan_in(table):
    """The plan at the beginning of a table."""
    return vector(table, 0, PLAN_SIZE)


@inner
def ops_in(table):
    """The operations behind the plan of a table."""
    return matrix(table, PLAN_SIZE, (table.size - PLAN_SIZE) // OP_SIZE, OP_SIZE)


@inner
def copy_rows(target, at, stride, source, source_at, source_stride, rows, width):
    """Copy `rows` rows of `width` entries between two flat arrays; each begins somewhere and has a stride."""
    if width < NARROW:  # a row at a time costs more, as gather() in engine.py
        for j in range(width):
            for n in range(rows):
                target[at + n * stride + j] = source[source_at + n * source_stride + j]
    else:
        for n in range(rows):
            copy(vector(target, at + n * stride, width), vector(source, source_at + n * source_stride, width))


@inner
def forward_block(ops, plan, params, work, out, x, first, rows, place):
    """Rows ``first .. first + rows`` of `x` (N I, flat), by way of the workspace from row `place` on, to `out` (N O, flat)."""
    I, O = plan[INPUT_WIDTH], plan[OUTPUT_WIDTH]
    copy_rows(work, plan[INPUT] + place * plan[INPUT_STRIDE], plan[INPUT_STRIDE], x, first * I, I, rows, I)
    forward_rows(ops, params, work, place, rows)
    copy_rows(out, first * O, O, work, plan[OUTPUT] + place * plan[OUTPUT_STRIDE], plan[OUTPUT_STRIDE], rows, O)


@inner
def forward_range(ops, plan, params, work, out, x, start, stop):
    """Rows ``start .. stop`` of `x` (N I, flat), a block at a time in the same place of the workspace, to `out` (N O, flat)."""
    I, O = plan[INPUT_WIDTH], plan[OUTPUT_WIDTH]
    columns, lanes = COLUMNS_BYTES // work.itemsize, REGISTER_BYTES // work.itemsize
    narrow = plan[COLUMN_COST] > 0
    spread = False
    block = columns if narrow else plan[BATCH]
    for first in range(start, stop, block):
        rows = min(block, stop - first)
        if narrow and (rows + lanes - 1) // lanes * plan[COLUMN_COST] < rows * plan[ROW_COST]:
            if not spread:
                spread_biases(ops, params, work)
                spread = True
            forward_columns(ops, plan, params, work, vector(out, first * O, rows * O), vector(x, first * I, rows * I), rows)
        else:
            forward_block(ops, plan, params, work, out, x, first, rows, 0)


@announced
@kernel
def forward_pass(table, params, work, x, out):
    """Carry all rows of `x` (N, I) through the network, a block at a time, into `out` (N, O).

    In a workspace for the way back every row has a place of its own, and all that :func:`backward_pass` needs stays there; its
    BATCH is at least N.
    """
    ops, plan, x_flat, out_flat = ops_in(table), plan_in(table), x.reshape(-1), out.reshape(-1)
    if plan[KEEP]:
        for first in range(0, x.shape[0], plan[BLOCK]):
            rows = min(plan[BLOCK], x.shape[0] - first)
            forward_block(ops, plan, params, work, out_flat, x_flat, first, rows, first)
    else:
        forward_range(ops, plan, params, work, out_flat, x_flat, 0, x.shape[0])


@kernel
def forward_share(table, params, work, x, out, control, chunk):
    """Do a share of :func:`forward_pass`, as one of several threads: `chunk` rows at a time, until none are left.

    Every thread has a workspace of its own; `control` (CONTROL_SIZE, int64, zero before) is common to them.
    """
    ops, plan, x_flat, out_flat = ops_in(table), plan_in(table), x.reshape(-1), out.reshape(-1)
    start = next_task(control, ROW_TASKS, 0) * chunk
    while start < x.shape[0]:
        forward_range(ops, plan, params, work, out_flat, x_flat, start, min(start + chunk, x.shape[0]))
        start = next_task(control, ROW_TASKS, 0) * chunk


@announced
@kernel
def backward_pass(table, params, grads, work, dx, dy):
    """Add the gradients of all parameters to `grads`, and write that of the input to `dx`, after a `forward_pass` that kept.

    dx (N, I) out; grads (P) in/out; dy (N, O) in.
    """
    ops, plan, dx_flat, dy_flat = ops_in(table), plan_in(table), dx.reshape(-1), dy.reshape(-1)
    N, I, O = dx.shape[0], dx.shape[1], dy.shape[1]
    transpose_weights(ops, plan, params, work, 0, 1)
    for first in range(0, N, plan[BLOCK]):
        rows = min(plan[BLOCK], N - first)
        copy_rows(work, plan[OUTPUT_DELTA] + first * plan[OUTPUT_STRIDE], plan[OUTPUT_STRIDE], dy_flat, first * O, O, rows, O)
        backward_rows(ops, plan, work, first, rows)
        at = plan[INPUT_DELTA] + first * plan[INPUT_STRIDE]
        copy_rows(dx_flat, first * I, I, work, at, plan[INPUT_STRIDE], rows, I)
    for o in range(ops.shape[0]):
        op = ops[o]
        if op[CODE] == LINEAR:
            dy_matrix = matrix(work, op[DY], N, op[Y_STRIDE])
            gradient = matrix(grads, op[WEIGHT], op[ROWS], op[Y_STRIDE])
            x = matrix(work, op[X], N, op[X_STRIDE])
            matmul(gradient, gradient, op[Y_STRIDE], x, ADJACENT, op[X_STRIDE], dy_matrix, op[OUT], N)
            if op[BIAS_APART]:
                gradient = matrix(grads, op[BIAS], 1, op[Y_STRIDE])
                bias_backward(gradient, gradient, dy_matrix, matrix(work, plan[ONE], 1, 1), op[OUT])
