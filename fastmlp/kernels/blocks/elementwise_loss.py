"""Losses that are the mean of a formula over all outputs and targets."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.moves import copy_rows, gather_rows
from fastmlp.kernels.blocks.reduction import LOSS_FIELDS, Loss, scale_of, weigh
from fastmlp.kernels.compiler.derivative import derivative, scaled
from fastmlp.kernels.compiler.expression import plain
from fastmlp.kernels.compiler.intrinsics import matrix, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import columns_pass, lines_pass
from fastmlp.kernels.op import BACKWARD, FORWARD, WEIGH, Memory
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


@inner
def scale_losses(losses, weights):
    """Multiply the losses of rows by their weights; a row of weight 0 counts for nothing, whatever its loss is."""
    for n in range(losses.size):
        losses[n] = losses[n] * weights[n] if weights[n] != 0 else weights[n]


@inner
def clear_rows(deltas, weights):
    """Zero the rows of weight 0: they may hold NaN."""
    for n in range(weights.size):
        if weights[n] == 0:
            for j in range(deltas.shape[1]):
                deltas[n, j] = weights[n]


@cache
def elementwise_loss_block(name: str, value: Callable, slope: Callable | None, constants: int) -> Block:
    """The block of a formula ``value(out, y, *constants)``; its slope by `out` is derived where it is None."""
    forward = lines_pass(value, inputs=2, outputs=1, constants=constants)
    backward = lines_pass(_delta_of(value, slope), inputs=2, outputs=1, constants=1 + constants)

    # Offsets; each thread has constants of its own, with the scale before them.
    @block(name, forward, backward, **LOSS_FIELDS, targets=np.int64, constants=np.int64, constants_size=np.int64)
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
            place = op.constants + job.thread * op.constants_size
            w[place] = scale_of(op, job)
            backward(size, w, out, w, targets, w, delta, w, place)
            clear_padding(matrix(w, delta, rows, op.x_stride), op.width_in)

    return elementwise_loss


@cache
def by_rows_block(name: str, value: Callable, slope: Callable | None, columns: int, constants: int) -> Block:
    """The block of ``value(out, y, *columns, *constants)``, row by row: rows may have weights, columns their own numbers."""
    forward = columns_pass(value, 2, columns, constants)
    backward = columns_pass(_delta_of(value, slope, columns), 2, columns, 1 + constants)

    @block(
        name,
        forward,
        backward,
        **LOSS_FIELDS,
        targets=np.int64,
        columns=np.int64,
        constants=np.int64,
        constants_size=np.int64,
    )
    def elementwise_loss_by_rows(task, op, job, row, rows, at):
        w, width, stride = job.work, op.width_in, op.x_stride
        place = op.constants + job.thread * op.constants_size
        if task == FORWARD:
            take_targets(op, job, row, rows, at)
            losses = vector(w, job.run.losses + at, rows)
            for n in range(rows):
                here = (at + n) * stride
                y, delta = op.targets + here, op.dx + here
                forward(stride, w, op.x + here, w, y, w, op.columns, stride, w, delta, w, place + 1)
            sum_rows(losses, matrix(w, op.dx + at * stride, rows, stride), width)
            if op.row_weights >= 0:
                scale_losses(losses, vector(w, op.row_weights + at, rows))
        elif task == BACKWARD:
            scale = scale_of(op, job)
            for n in range(rows):
                here = (at + n) * stride
                y, delta = op.targets + here, op.dx + here
                w[place] = w[op.row_weights + at + n] * scale if op.row_weights >= 0 else scale
                backward(stride, w, op.x + here, w, y, w, op.columns, stride, w, delta, w, place)
            deltas = matrix(w, op.dx + at * stride, rows, stride)
            if op.row_weights >= 0:
                clear_rows(deltas, vector(w, op.row_weights + at, rows))
            clear_padding(deltas, width)
        elif task == WEIGH and rows > 0:
            weigh(op, job)

    return elementwise_loss_by_rows


def _delta_of(value: Callable, slope: Callable | None, columns: int = 0) -> Callable:
    """The formula of the delta; its constants begin with the scale."""
    slope = slope or derivative(value)

    def gradient(out: Any, y: Any, *numbers: Any) -> Any:
        scale = numbers[columns]
        return scaled(scale, slope(out, y, *numbers[:columns], *numbers[columns + 1 :]))

    return gradient


class ElementwiseLoss(Loss):
    """The formula of a criterion, for outputs of one width.

    Parameters
    ----------
    width, name
        Of the outputs; and of the block.
    value, slope
        ``value(out, y, *columns, *constants)`` and its derivative by `out`, derived where it is None.
    constants : tuple of float
        Numbers of the formula.
    columns : tuple of tuple of float
        Numbers of the formula that each column has for itself.
    terms, weighted
        As every loss has them; by default the mean over all elements.
    """

    def __init__(
        self,
        width: int,
        name: str,
        value: Callable,
        slope: Callable | None,
        constants: tuple[float, ...] = (),
        *,
        columns: tuple[tuple[float, ...], ...] = (),
        terms: int | None = None,
        weighted: bool = False,
    ):
        super().__init__(width, terms=width if terms is None else terms, weighted=weighted)
        self.name, self.constants, self.columns = name, constants, columns
        value, slope = plain(value), plain(slope) if slope is not None else None
        if columns or weighted:
            self.block = by_rows_block(f"loss-{name}-rows", value, slope, len(columns), len(constants))
        else:
            self.block = elementwise_loss_block(f"loss-{name}", value, slope, len(constants))

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.targets = memory.take(memory.batch * record.x_stride)
        record.constants_size = memory.lanes * -(-(1 + len(self.constants)) // memory.lanes)
        starts = [memory.take_values((0.0, *self.constants)) for _ in range(memory.threads)]
        record.constants = starts[0]
        if self.columns or self.weighted:
            record.columns = memory.take(len(self.columns) * record.x_stride)
            memory.values += [(record.columns + k * record.x_stride, numbers) for k, numbers in enumerate(self.columns)]
