"""What the blocks of layers have in common whose parameters are vectors, a number for each feature.

Such a layer's units are its features. Whoever takes some of them forms their gradient over the whole batch, row by row.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import call
from fastmlp.kernels.compiler.intrinsics import least, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.op import ACCUMULATE, BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, UPDATE, Memory, Op

__all__ = ["VECTORS", "VectorOp", "add_gradient", "begin_sums", "bias_of", "clear", "hand_over", "scratch_of", "weight_of"]

#: Fields of the block of such a layer.
VECTORS: dict[str, type] = {
    "weight": np.int64,  # offset in the parameters
    "bias": np.int64,
    "has_weight": np.int64,
    "has_bias": np.int64,
    "ones": np.int64,  # offset of as many ones in the workspace, where there is no weight
    "optimizer": np.int64,  # its op, for the weight and for the bias
    "bias_optimizer": np.int64,
}


@inner
def weight_of(op, job):
    """The weight, or ones."""
    if op.has_weight:
        return vector(job.params, op.weight, op.y_stride)
    return vector(job.work, op.ones, op.y_stride)


@inner
def bias_of(op, job):
    """The bias, or zeros."""
    if op.has_bias:
        return vector(job.params, op.bias, op.y_stride)
    return vector(job.work, job.run.zero, op.y_stride)


@inner
def scratch_of(job):
    """Where the scratch memory of this thread begins."""
    return job.run.scratch + job.thread * job.run.scratch_size


@inner
def clear(values, at, size):
    """Zero entries ``at .. at + size``."""
    zero = values.dtype.type(0)
    for j in range(at, at + size):
        values[j] = zero


@inner
def begin_sums(task, job, parameter, first, size, width, at):
    """Have sums over rows begin, in the workspace at `at`: at zero, or in ACCUMULATE at what is in `grads`.

    So each sum is one chain over all rows that are added up there. The rest is as with :func:`hand_over`.
    """
    clear(job.work, at, size)
    if task == ACCUMULATE:
        for j in range(least(size, width - first)):
            job.work[at + j] = job.grads[parameter + first + j]


@inner
def add_gradient(job, parameter, first, size, width, at):
    """Add what is in `grads` to a gradient that is made of sums, and is none itself."""
    for j in range(least(size, width - first)):
        job.work[at + j] += job.grads[parameter + first + j]


@inner
def hand_over(task, job, optimizer, parameter, first, size, width, at):
    """Do with a gradient, which lies in the workspace at `at`, what the task asks for: update the parameter, or put in `grads`.

    It is that of entries ``first .. first + size`` of a parameter of `width` entries, in whole lines.
    """
    known = least(size, width - first)
    if task == UPDATE:
        zero = job.work.dtype.type(0)
        for j in range(max(known, 0), size):
            job.work[at + j] = zero
        call(job.ops[optimizer], UPDATE, job, parameter + first, size, at)
    else:
        for j in range(known):
            job.grads[parameter + first + j] = job.work[at + j]


class VectorOp(Op):
    """A layer with a weight and a bias for each feature: where these begin in the parameters, -1 where there is none."""

    reads_x_backward = True

    def __init__(self, width: int, weight: int, bias: int = -1):
        super().__init__(width, width)
        self.weight, self.bias = weight, bias
        self.has_parameters = weight >= 0 or bias >= 0

    def tasks(self, record: Any) -> set[int]:
        back = {BACKWARD} if record.dx >= 0 else set()
        return {FORWARD, FORWARD_FEATURE_MAJOR} | back | ({UPDATE, ACCUMULATE} if self.has_parameters else set())

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.has_weight, record.has_bias = self.weight >= 0, self.bias >= 0
        record.bias = max(self.bias, 0)
        record.weight = self.weight if record.has_weight else record.bias  # where a group is looked for, there is a parameter
        record.units = record.y_stride
        if self.weight < 0:
            record.ones = memory.take_values((1.0,) * self.width_in)
        memory.want_scratch(2 * record.y_stride)
