"""Losses that are the mean of a formula over all outputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.moves import copy_rows, gather_rows
from fastmlp.kernels.compiler.derivative import derivative, scaled
from fastmlp.kernels.compiler.intrinsics import matrix, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.op import BACKWARD, FORWARD, Memory, Op
from fastmlp.kernels.products.padding import clear_padding

__all__ = ["ElementwiseLoss"]


@inner
def take_targets(op, job, row, rows, at):
    """Bring the targets of these rows into the workspace, laid out as the outputs."""
    place = op.targets + at * op.x_stride
    if job.run.gathers:
        chosen = vector(job.order, job.start + row, rows)
        gather_rows(job.work, place, op.x_stride, job.y, chosen, op.width_in)
    else:
        copy_rows(job.work, place, op.x_stride, job.y, row * op.width_in, op.width_in, rows, op.width_in)


@inner
def sum_rows(losses, values, O):
    """The sum of the first O entries of each row."""
    for n in range(values.shape[0]):
        total = values[n, 0]
        for j in range(1, O):
            total += values[n, j]
        losses[n] = total


@cache
def elementwise_loss_block(name: str, value: Callable, slope: Callable | None, constants: int) -> Block:
    """The block of a formula ``value(out, y, *constants)``; its slope by `out` is derived where it is None."""
    slope = slope or derivative(value)

    def gradient(out: Any, y: Any, scale: Any, *constants: Any) -> Any:
        return scaled(scale, slope(out, y, *constants))

    forward = lines_pass(value, inputs=2, outputs=1, constants=constants)
    backward = lines_pass(gradient, inputs=2, outputs=1, constants=1 + constants)

    # Offsets; each thread has constants of its own, with the scale before them.
    @block(name, forward, backward, targets=np.int64, constants=np.int64, constants_size=np.int64)
    def elementwise_loss(task, op, job, row, rows, at):
        start, size = at * op.x_stride, rows * op.x_stride
        out, targets, delta = op.x + start, op.targets + start, op.dx + start
        w = job.work
        if task == FORWARD:  # the values lie for a moment where the delta will be
            take_targets(op, job, row, rows, at)
            place = op.constants + job.thread * op.constants_size
            forward(size, w, out, w, targets, w, delta, w, place + 1)
            values = matrix(w, delta, rows, op.x_stride)
            sum_rows(vector(w, job.run.losses + at, rows), values, op.width_in)
        elif task == BACKWARD:
            one = w.dtype.type(1)
            place = op.constants + job.thread * op.constants_size
            w[place] = one / w.dtype.type(job.rows * op.width_in)
            backward(size, w, out, w, targets, w, delta, w, place)
            clear_padding(matrix(w, delta, rows, op.x_stride), op.width_in)

    return elementwise_loss


class ElementwiseLoss(Op):
    """The formula of a criterion, for outputs of one width."""

    gives_losses = True

    def __init__(self, width: int, name: str, value: Callable, slope: Callable | None, constants: tuple[float, ...] = ()):
        super().__init__(width, width)
        self.name, self.constants = name, constants
        self.block = elementwise_loss_block(f"loss-{name}", value, slope, len(constants))

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.targets = memory.take(memory.batch * record.x_stride)
        record.constants_size = memory.lanes * -(-(1 + len(self.constants)) // memory.lanes)
        starts = [memory.take_values((0.0, *self.constants)) for _ in range(memory.threads)]
        record.constants = starts[0]
