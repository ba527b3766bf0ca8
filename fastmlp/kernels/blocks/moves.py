"""Input and output: rows between the arrays of a caller and the workspace."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.intrinsics import itemsize_of, matrix, vector
from fastmlp.kernels.compiler.jit import inner, plain_loops
from fastmlp.kernels.layout import FEATURE_MAJOR_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, Op

__all__ = ["Input", "Output", "copy", "copy_rows", "gather_rows"]

# Rows narrower than this are moved column by column: copying 100 rows of 2 one by one takes 4 us, so it takes 75 ns; and 170
# where Numba looks for indices that are negative (those of a view count from zero, the others are unsigned).
NARROW = 16


@inner
def copy(target, source):
    """Target = source, both flat."""
    for i in range(target.size):
        target[i] = source[i]


@inner
def copy_rows(target, at, stride, source, source_at, source_stride, rows, width):
    """Copy `rows` rows of `width` entries between two flat arrays; each begins somewhere and has a stride."""
    if width < NARROW:
        goal = matrix(target, at, rows, stride)
        for j in range(width):
            for n in range(rows):
                goal[n, j] = source[np.uintp(source_at + n * source_stride + j)]
    else:
        for n in range(rows):
            copy(vector(target, at + n * stride, width), vector(source, source_at + n * source_stride, width))


@inner
def gather_rows(target, at, stride, source, order, width):
    """Copy the rows of a C-contiguous `source` that `order` names, `width` entries each, to rows of `target`."""
    if width < NARROW:
        goal = matrix(target, at, order.size, stride)
        for j in range(width):
            for n in range(order.size):
                goal[n, j] = source[np.uintp(order[n] * width + j)]
    else:
        for n in range(order.size):
            copy(vector(target, at + n * stride, width), vector(source, order[n] * width, width))


@inner
def transpose_rows(target, at, source, source_at, rows, width):
    """Copy `rows` adjacent rows of `width` entries to as many features, FEATURE_MAJOR_BYTES apart."""
    columns = FEATURE_MAJOR_BYTES // itemsize_of(target)
    for j in range(width):
        for n in range(rows):
            target[at + j * columns + n] = source[source_at + n * width + j]


@inner
def transpose_features(target, at, source, source_at, rows, width):
    """The reverse of :func:`transpose_rows`."""
    columns = FEATURE_MAJOR_BYTES // itemsize_of(target)
    for j in range(width):
        for n in range(rows):
            target[at + n * width + j] = source[source_at + j * columns + n]


@block("input")
@plain_loops
def _input(task, op, job, row, rows, at):
    place = op.y + at * op.y_stride
    if task == FORWARD:
        if job.run.gathers:
            chosen = vector(job.order, job.start + row, rows)
            gather_rows(job.work, place, op.y_stride, job.x, chosen, op.width_out)
        else:
            copy_rows(job.work, place, op.y_stride, job.x, row * op.width_out, op.width_out, rows, op.width_out)
    elif task == FORWARD_FEATURE_MAJOR:
        transpose_rows(job.work, place, job.x, row * op.width_out, rows, op.width_out)
    elif task == BACKWARD:
        from_delta = op.dy + at * op.y_stride
        copy_rows(job.x, row * op.width_out, op.width_out, job.work, from_delta, op.y_stride, rows, op.width_out)


@block("output")
@plain_loops
def _output(task, op, job, row, rows, at):
    place = op.x + at * op.x_stride
    if task == FORWARD:
        copy_rows(job.y, row * op.width_in, op.width_in, job.work, place, op.x_stride, rows, op.width_in)
    elif task == FORWARD_FEATURE_MAJOR:
        transpose_features(job.y, row * op.width_in, job.work, place, rows, op.width_in)
    elif task == BACKWARD:
        to_delta = op.dx + at * op.x_stride
        copy_rows(job.work, to_delta, op.x_stride, job.y, row * op.width_in, op.width_in, rows, op.width_in)


class Input(Op):
    """The rows of x."""

    block: Block = _input
    name = "input"

    def __init__(self, width: int):
        super().__init__(width, width)

    def tasks(self, record: Any) -> set[int]:
        return {FORWARD, FORWARD_FEATURE_MAJOR} | ({BACKWARD} if record.dy >= 0 else set())


class Output(Op):
    """Where the rows of a pass forward go to, and the deltas of a way back come from."""

    block: Block = _output
    name = "output"
    in_place = True

    def __init__(self, width: int):
        super().__init__(width, width)
