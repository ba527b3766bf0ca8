"""Softmax and its logarithm along a row."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.compiler.rows import LARGEST, row_pass
from fastmlp.kernels.elementary import exp, log
from fastmlp.kernels.op import BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, Memory, Op

__all__ = ["Softmax"]

#: What a row needs for a moment: its largest number, and a sum.
KEPT = 2


def same(x):
    """The number itself."""
    return x


def raised(x, largest):
    """What the sum is a sum of."""
    return exp(x - largest)


def raised_and_kept(x, largest):
    """The same, kept."""
    y = raised(x, largest)
    return y, y


def scaled(y, _, factor):
    """Softmax."""
    return y * factor


def softmax_gradient(dy, y, total):
    """The gradient of softmax."""
    return y * (dy - total)


def product(dy, y):
    """What the sum of the way back is a sum of."""
    return dy * y


def shifted(x, largest, logarithm):
    """The logarithm of softmax."""
    return x - largest - logarithm


def log_softmax_gradient(dy, y, total):
    """The gradient of the logarithm."""
    return dy - exp(y) * total


_largest, _sum_numbers = row_pass(same, inputs=1, total=LARGEST), row_pass(same, inputs=1)
_raise, _scale = row_pass(raised_and_kept, inputs=1, outputs=1, constants=1), lines_pass(scaled, inputs=1, constants=KEPT)
_sum_raised, _shift = row_pass(raised, inputs=1, constants=1), lines_pass(shifted, inputs=1, constants=KEPT)
_sum_products = row_pass(product, inputs=2)
_softmax_gradient = row_pass(softmax_gradient, inputs=2, outputs=1, constants=1, totals=0)
_log_softmax_gradient = row_pass(log_softmax_gradient, inputs=2, outputs=1, constants=1, totals=0)


@inner
def softmax_forward(op, job, rows, at):
    """``y = exp(x - max(x)) / sum(exp(x - max(x)))``, or ``y = x - max(x) - log(sum(exp(x - max(x))))``."""
    w, one, width, stride = job.work, job.work.dtype.type(1), op.width_in, op.y_stride
    x, y, kept = op.x + at * op.x_stride, op.y + at * op.y_stride, op.kept + at * KEPT
    for n in range(rows):
        _largest(width, w, x + n * stride, w, 0, w, kept + n * KEPT)
    if op.logarithm:
        for n in range(rows):
            _sum_raised(width, w, x + n * stride, w, kept + n * KEPT, w, kept + n * KEPT + 1)
        for n in range(rows):
            w[kept + n * KEPT + 1] = log(w[kept + n * KEPT + 1])
        for n in range(rows):
            _shift(stride, w, x + n * stride, w, y + n * stride, w, kept + n * KEPT)
    else:
        for n in range(rows):
            _raise(width, w, x + n * stride, w, y + n * stride, w, kept + n * KEPT, w, kept + n * KEPT + 1)
        for n in range(rows):
            w[kept + n * KEPT + 1] = one / w[kept + n * KEPT + 1]
        for n in range(rows):
            _scale(stride, w, y + n * stride, w, y + n * stride, w, kept + n * KEPT)


@inner
def softmax_backward(op, job, rows, at):
    """``dx = y * (dy - sum(dy * y))``, or ``dx = dy - exp(y) * sum(dy)`` for the logarithm."""
    w, width, stride = job.work, op.width_in, op.y_stride
    y, dx, dy, kept = op.y + at * op.y_stride, op.dx + at * op.x_stride, op.dy + at * op.y_stride, op.kept + at * KEPT
    if op.logarithm:
        for n in range(rows):
            _sum_numbers(width, w, dy + n * stride, w, 0, w, kept + n * KEPT)
        for n in range(rows):
            place = kept + n * KEPT
            _log_softmax_gradient(width, w, dy + n * stride, w, y + n * stride, w, dx + n * stride, w, place, w, place)
    else:
        for n in range(rows):
            _sum_products(width, w, dy + n * stride, w, y + n * stride, w, 0, w, kept + n * KEPT)
        for n in range(rows):
            place = kept + n * KEPT
            _softmax_gradient(width, w, dy + n * stride, w, y + n * stride, w, dx + n * stride, w, place, w, place)


@block("softmax", logarithm=np.int64, kept=np.int64)
def _softmax(task, op, job, row, rows, at):
    if task == FORWARD:
        softmax_forward(op, job, rows, at)
    elif task == BACKWARD:
        softmax_backward(op, job, rows, at)


class Softmax(Op):
    """Softmax, or its logarithm."""

    block: Block = _softmax
    in_place = by_rows = True
    reads_y_backward = True

    def __init__(self, width: int, logarithm: bool):
        super().__init__(width, width)
        self.logarithm, self.name = logarithm, "log_softmax" if logarithm else "softmax"
        self.symmetric = not logarithm

    def costs(self, lanes: int) -> None:
        """Not with the rows along the vectors: the sums over a row would have another order."""

    def tasks(self, record: Any) -> set[int]:
        return super().tasks(record) - {FORWARD_FEATURE_MAJOR}

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.logarithm, record.kept = self.logarithm, memory.take(KEPT * memory.batch)
