"""The scale: a factor for each feature."""

from __future__ import annotations

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.vectors import VECTORS, VectorOp, begin_sums, hand_over, scratch_of
from fastmlp.kernels.compiler.intrinsics import matrix
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR
from fastmlp.kernels.products.columns import add_products

__all__ = ["Scale"]


def product(x, weight):
    """Output and gradient by x."""
    return x * weight


_multiply = lines_pass(product, inputs=2)


@inner
def scale_forward(op, job, rows, at):
    """``y = x * weight``."""
    x, y, w = op.x + at * op.x_stride, op.y + at * op.y_stride, job.work
    for n in range(rows):
        _multiply(op.y_stride, w, x + n * op.x_stride, job.params, op.weight, w, y + n * op.y_stride, w, 0)


@inner
def scale_forward_feature_major(op, job, at):
    """The same with the rows of the batch along the vectors."""
    columns = FEATURE_MAJOR_BYTES // job.work.itemsize
    x = matrix(job.work, op.x + at * op.x_stride, op.width_in, columns)
    y = matrix(job.work, op.y + at * op.y_stride, op.width_out, columns)
    for j in range(op.width_in):
        for i in range(columns):
            y[j, i] = x[j, i] * job.params[op.weight + j]


@inner
def scale_backward_input(op, job, rows, at):
    """``dx = dy * weight``, from ``y = x * weight``."""
    dx, dy, w = op.dx + at * op.x_stride, op.dy + at * op.y_stride, job.work
    for n in range(rows):
        _multiply(op.y_stride, w, dy + n * op.y_stride, job.params, op.weight, w, dx + n * op.x_stride, w, 0)


@inner
def scale_backward_params(task, op, job, first, size):
    """``dweight = sum over the batch of dy * x``, of features ``first .. first + size``."""
    dweight, dy, x, w = scratch_of(job), op.dy + first, op.x + first, job.work
    begin_sums(task, job, op.weight, first, size, op.width_in, dweight)
    add_products(w, dweight, w, dy, op.y_stride, w, x, op.x_stride, size, job.rows)
    hand_over(task, job, op.optimizer, op.weight, first, size, op.width_in, dweight)


@block("scale", **VECTORS)
def _scale(task, op, job, row, rows, at):
    if task == FORWARD:
        scale_forward(op, job, rows, at)
    elif task == BACKWARD:
        scale_backward_input(op, job, rows, at)
    elif task == FORWARD_FEATURE_MAJOR:
        scale_forward_feature_major(op, job, at)
    elif rows > 0:
        scale_backward_params(task, op, job, row, rows)


class Scale(VectorOp):
    """``y = x * weight``; `weight` is where it begins in the parameters."""

    block: Block = _scale
    name = "scale"
    symmetric = True
