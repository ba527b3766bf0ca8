"""What the blocks of the linear layer share: the fields of their ops, what these stand for, and how a gradient is applied."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.block import call
from fastmlp.kernels.compiler.intrinsics import least, matrix
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.compiler.processor import REGISTERS
from fastmlp.kernels.elementary import select
from fastmlp.kernels.op import UPDATE
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul, matmul_above
from fastmlp.kernels.products.padding import clear_padding, clear_unwritten
from fastmlp.kernels.products.transpose import transpose

__all__ = ["FIELDS", "PACKS", "accumulate_bias_apart", "apply_gradient", "bias_of", "floor_of"]
__all__ += [
    "linear_backward_input",
    "linear_backward_relu",
    "linear_forward",
    "set_ones",
    "transpose_weight",
    "update_bias_apart",
    "weight_of",
    "zeros_of",
]

FIELDS: dict[str, type] = {
    "weight": np.int64,  # offset in the parameters
    "bias": np.int64,
    "has_bias": np.int64,
    "weight_t": np.int64,  # the transposed copy
    "weight_t_apart": np.int64,  # from that of a thread to that of the next, where each has one; else 0
    "bias_apart": np.int64,  # 1 where the bias is not trained as one more row of the weight, its input a 1 in the padding of x
    "gradient_rows": np.int64,  # whose gradient is formed and applied together, while they are in a cache
    "gradient_depth": np.int64,  # rows of the batch that are gone through at a time for it
    "transposed_gradient": np.int64,  # 1 where the gradient is cheaper to form transposed: few outputs
    "relay": np.int64,  # where in a relay the gradient over the rows so far lies
    "relay_bias": np.int64,  # that of a bias apart
    "packed_rows": np.int64,  # rows of the weight whose x is copied side by side for their gradient; 0: none is
    "fused_relu": np.int64,
    "panels": np.int64,  # where the deltas of a wide layer lie once more, by panels
    "panel_rows": np.int64,  # of each; 0: there are none, since nobody forms the gradient
    "optimizer": np.int64,  # its op, for the weight and for the bias
    "bias_optimizer": np.int64,
    "scalars": np.int64,  # of the optimizer, in the row of a step, where the block applies its formula itself
}

#: Whether the inputs that a gradient reads may be copied side by side: see :mod:`.linear`.
PACKS = REGISTERS == 16

_where_positive = lines_pass(lambda dy, y: select(y > 0, dy, 0), inputs=2)


@inner
def weight_of(op, job):
    """The weight, (I, padded O)."""
    return matrix(job.params, op.weight, op.width_in, op.y_stride)


@inner
def bias_of(op, job):
    """The bias, (1, padded O), or zeros."""
    if op.has_bias:
        return matrix(job.params, op.bias, 1, op.y_stride)
    return matrix(job.work, job.run.zero, 1, op.y_stride)


@inner
def zeros_of(op, job):
    """A row of zeros, (1, widest)."""
    return matrix(job.work, job.run.zero, 1, job.run.zero_stride)


@inner
def floor_of(op, job):
    """What the outputs are not to fall below."""
    return job.work.dtype.type(0) if op.fused_relu else job.work.dtype.type(-np.inf)


@inner
def set_ones(op, job, rows, at):
    """The input of the bias, where it is trained as one more row of the weight."""
    one = job.work.dtype.type(1)
    for n in range(rows):
        job.work[op.x + (at + n) * op.x_stride + op.width_in] = one


@inner
def linear_forward(op, job, rows, at):
    """``y = x @ weight + bias``, above 0 with a fused ReLU: the bias is what the sums start from. 2 N I O flops."""
    x = matrix(job.work, op.x + at * op.x_stride, rows, op.x_stride)
    y = matrix(job.work, op.y + at * op.y_stride, rows, op.y_stride)
    if op.units > op.width_in:
        set_ones(op, job, rows, at)
    bias = bias_of(op, job)
    matmul_above(
        y, bias, SAME, ADJACENT, x, op.x_stride, ADJACENT, weight_of(op, job), op.width_out, op.width_in, floor_of(op, job)
    )


@inner
def linear_backward_relu(op, job, rows, at):
    """``dy where y > 0, else 0``, in place, where a ReLU is fused: its slope. Whole lines."""
    if op.fused_relu:
        start = at * op.y_stride
        dy, y = op.dy + start, op.y + start
        _where_positive(rows * op.y_stride, job.work, dy, job.work, y, job.work, dy, job.work, dy)


@inner
def transposed_weight_of(op, job):
    """The transposed copy, (O, padded I); of several threads, each may have its own."""
    return matrix(job.work, op.weight_t + job.thread * op.weight_t_apart, op.width_out, op.x_stride)


@inner
def linear_backward_input(op, job, rows, at):
    """``dx = dy @ weight.T``, from ``y = x @ weight + bias``. 2 N I O flops."""
    linear_backward_relu(op, job, rows, at)
    if op.dx >= 0:
        dx = matrix(job.work, op.dx + at * op.x_stride, rows, op.x_stride)
        dy = matrix(job.work, op.dy + at * op.y_stride, rows, op.y_stride)
        transposed = transposed_weight_of(op, job)
        matmul(dx, zeros_of(op, job), SAME, dy, op.y_stride, ADJACENT, transposed, op.width_in, op.width_out)


@inner
def transpose_weight(op, job, first, last):
    """Copy rows ``first .. last`` of the weight to the transposed copy, which :func:`linear_backward_input` reads."""
    last = least(last, op.width_in)
    transpose(transposed_weight_of(op, job), weight_of(op, job), zeros_of(op, job), first, last, op.width_out)


@inner
def apply_gradient(op, job, row, rows, at):
    """Update rows ``row .. row + rows`` of the weight, or of the bias behind it, by their gradient, which lies at `at`."""
    stride = op.y_stride
    weights = least(rows, op.width_in - row) if op.bias_optimizer != op.optimizer else rows
    call(job.ops[op.optimizer], UPDATE, job, op.weight + row * stride, weights * stride, at)
    if weights < rows:
        call(job.ops[op.bias_optimizer], UPDATE, job, op.bias, stride, at + weights * stride)


@inner
def bias_backward(op, job, dbias, init):
    """``dbias = init + sum of the rows of dy``: a product with a row of ones, so that the sums stay in registers."""
    dy = matrix(job.work, op.dy, job.rows, op.y_stride)
    one = matrix(job.work, job.run.one, 1, 1)
    matmul(dbias, init, SAME, one, SAME, SAME, dy, op.width_out, job.rows)


@inner
def update_bias_apart(op, job, at):
    """Gradient and update of a bias that is no row of the weight; the gradient comes to lie at `at`."""
    gradient = matrix(job.work, at, 1, op.y_stride)
    bias_backward(op, job, gradient, zeros_of(op, job))
    clear_unwritten(gradient, op.width_out)
    call(job.ops[op.bias_optimizer], UPDATE, job, op.bias, op.y_stride, at)


@inner
def accumulate_bias_apart(op, job):
    """Add the gradient of a bias that is no row of the weight to `grads`."""
    dbias = matrix(job.grads, op.bias, 1, op.y_stride)
    bias_backward(op, job, dbias, dbias)
    clear_padding(dbias, op.width_out)
