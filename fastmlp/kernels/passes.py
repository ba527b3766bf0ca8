"""One pass through a whole network: forward over many rows, and back to the gradients of all parameters."""

from __future__ import annotations

from fastmlp.kernels.activations import copy
from fastmlp.kernels.engine import (
    BATCH,
    BIAS,
    BIAS_APART,
    BLOCK,
    CODE,
    DY,
    INPUT,
    INPUT_DELTA,
    INPUT_STRIDE,
    LINEAR,
    NARROW,
    ONE,
    OUT,
    OUTPUT,
    OUTPUT_DELTA,
    OUTPUT_STRIDE,
    ROWS,
    WEIGHT,
    X_STRIDE,
    Y_STRIDE,
    X,
    backward_rows,
    forward_rows,
    transpose_weights,
)
from fastmlp.kernels.intrinsics import matrix, vector
from fastmlp.kernels.jit import announced, inner, kernel
from fastmlp.kernels.linear import bias_backward
from fastmlp.kernels.matmul import ADJACENT, matmul

__all__ = ["backward_pass", "forward_pass"]


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


@announced
@kernel
def forward_pass(ops, plan, params, work, x, out, keep):
    """Carry all rows of `x` (N, I) through the network, a block at a time, into `out` (N, O).

    With `keep`, every row has a place of its own in the workspace, whose BATCH is at least N, and all that
    :func:`backward_pass` needs stays there. Without, blocks of at most BATCH rows follow each other in one place.
    """
    x_flat, out_flat = x.reshape(-1), out.reshape(-1)
    I, O = x.shape[1], out.shape[1]
    block = min(plan[BLOCK], plan[BATCH])
    for first in range(0, x.shape[0], block):
        rows = min(block, x.shape[0] - first)
        place = first if keep else 0
        copy_rows(work, plan[INPUT] + place * plan[INPUT_STRIDE], plan[INPUT_STRIDE], x_flat, first * I, I, rows, I)
        forward_rows(ops, params, work, place, rows)
        copy_rows(out_flat, first * O, O, work, plan[OUTPUT] + place * plan[OUTPUT_STRIDE], plan[OUTPUT_STRIDE], rows, O)


@announced
@kernel
def backward_pass(ops, plan, params, grads, work, dx, dy):
    """Add the gradients of all parameters to `grads`, and write that of the input to `dx`, after a `forward_pass` that kept.

    dx (N, I) out; grads (P) in/out; dy (N, O) in.
    """
    dx_flat, dy_flat = dx.reshape(-1), dy.reshape(-1)
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
