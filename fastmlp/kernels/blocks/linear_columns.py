"""The linear layer by columns, forward: threads share those of a few rows. The numbers of :mod:`.linear` to the bit."""

from __future__ import annotations

from fastmlp.kernels.block import block
from fastmlp.kernels.blocks.linear_fields import FIELDS, floor_of
from fastmlp.kernels.compiler.intrinsics import matrix
from fastmlp.kernels.op import FORWARD_COLUMNS
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul_above
from fastmlp.kernels.products.row import row_above

__all__ = ["linear_columns"]


@block("linear_columns", **FIELDS)
def linear_columns(task, op, job, row, rows, at):
    """Columns ``row .. row + rows`` of the output, for all rows of the batch that are at hand."""
    if task == FORWARD_COLUMNS and rows > 0:
        w, stride, floor = job.work, op.y_stride, floor_of(op, job)
        biases, bias_at = (job.params, op.bias + row) if op.has_bias else (w, job.run.zero)
        if job.rows == 1:
            row_above(w, op.y + row, biases, bias_at, w, op.x, job.params, op.weight + row, stride, rows, op.width_in, floor)
        else:
            y, x = matrix(w, op.y + row, job.rows, stride), matrix(w, op.x, job.rows, op.x_stride)
            weight, bias = matrix(job.params, op.weight + row, op.width_in, stride), matrix(biases, bias_at, 1, stride)
            matmul_above(y, bias, SAME, ADJACENT, x, op.x_stride, ADJACENT, weight, rows, op.width_in, floor)
