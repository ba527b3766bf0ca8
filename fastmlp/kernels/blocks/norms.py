"""Normalization along a row: of its mean and its variance (layer norm), or of its mean square (RMS norm)."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.vectors import VECTORS, VectorOp, begin_sums, bias_of, hand_over, scratch_of, weight_of
from fastmlp.kernels.compiler.expression import muladd
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.compiler.rows import row_pass
from fastmlp.kernels.elementary import sqrt
from fastmlp.kernels.op import BACKWARD, FORWARD, FORWARD_FEATURE_MAJOR, UPDATE, Memory

__all__ = ["Norm"]

#: What is kept of a row: its mean, the factor of its normal form, and of the way back the means of dy and of dy * normal.
MEAN, FACTOR, MEAN_DY, MEAN_PRODUCT = range(4)
KEPT = 4


def shifted(x, shift):
    """What the mean is a mean of."""
    return x - shift


def square(x, mean):
    """What the variance is a mean of."""
    return (x - mean) * (x - mean)


def normal(x, mean, factor):
    """The normal form."""
    return (x - mean) * factor


def value(x, weight, bias, mean, factor):
    """The output."""
    return muladd(normal(x, mean, factor), weight, bias)


def products(dy, weight, x, mean, factor):
    """What the means of the way back are means of."""
    return dy * weight, dy * weight * normal(x, mean, factor)


def gradient(dy, weight, x, mean, factor, mean_dy, mean_product):
    """The gradient by x."""
    return factor * (dy * weight - mean_dy - normal(x, mean, factor) * mean_product)


def summed(dy, x, dweight, dbias, mean, factor):
    """The gradients by weight and bias, with one more row."""
    return muladd(dy, normal(x, mean, factor), dweight), dbias + dy


_sum_shifted, _sum_squares = row_pass(shifted, inputs=1, constants=1), row_pass(square, inputs=1, constants=1)
_normalize = lines_pass(value, inputs=3, constants=2)
_sum_products = row_pass(products, inputs=3, constants=2, totals=2)
_gradient = row_pass(gradient, inputs=3, outputs=1, constants=KEPT, totals=0)
_add = lines_pass(summed, inputs=4, outputs=2, constants=2)


# Each pass goes over all rows of the block before the next one: so the sums of one row are added while those of the row
# before are still under way.


@inner
def norm_forward(op, job, rows, at):
    """``y = (x - mean(x)) / sqrt(var(x) + eps) * weight + bias``, without the mean for an RMS norm.

    The mean is that of the differences from the first number of the row, which is exact where all are equal, and the variance
    that of the differences from the mean: there is no cancellation.
    """
    w, size = job.work, job.work.dtype.type(op.width_in)
    zero, one, eps = job.work.dtype.type(0), job.work.dtype.type(1), job.work.dtype.type(op.eps)
    weight, bias = weight_of(op, job), bias_of(op, job)
    x, y, kept = op.x + at * op.x_stride, op.y + at * op.y_stride, op.kept + at * KEPT
    if op.centred:
        for n in range(rows):
            _sum_shifted(op.width_in, w, x + n * op.x_stride, w, x + n * op.x_stride, w, kept + n * KEPT + MEAN)
    for n in range(rows):
        mean = kept + n * KEPT + MEAN
        w[mean] = w[x + n * op.x_stride] + w[mean] / size if op.centred else zero
    for n in range(rows):
        _sum_squares(op.width_in, w, x + n * op.x_stride, w, kept + n * KEPT + MEAN, w, kept + n * KEPT + FACTOR)
    for n in range(rows):
        factor = kept + n * KEPT + FACTOR
        w[factor] = one / sqrt(w[factor] / size + eps)
    for n in range(rows):
        _normalize(op.y_stride, w, x + n * op.x_stride, weight, 0, bias, 0, w, y + n * op.y_stride, w, kept + n * KEPT)


@inner
def norm_backward_input(op, job, rows, at):
    """``dx = (d - mean(d) - normal * mean(d * normal)) * factor``, from ``normal = (x - mean) * factor``; d is ``dy * weight``.

    Without the mean of d for an RMS norm.
    """
    w, size, zero = job.work, job.work.dtype.type(op.width_in), job.work.dtype.type(0)
    weight = weight_of(op, job)
    x, dx, dy, kept = op.x + at * op.x_stride, op.dx + at * op.x_stride, op.dy + at * op.y_stride, op.kept + at * KEPT
    for n in range(rows):
        shift, place = n * op.y_stride, kept + n * KEPT
        _sum_products(op.width_in, w, dy + shift, weight, 0, w, x + shift, w, place, w, place + MEAN_DY)
    for n in range(rows):
        place = kept + n * KEPT
        w[place + MEAN_DY] = w[place + MEAN_DY] / size if op.centred else zero
        w[place + MEAN_PRODUCT] /= size
    for n in range(rows):
        shift, place = n * op.y_stride, kept + n * KEPT
        _gradient(op.width_in, w, dy + shift, weight, 0, w, x + shift, w, dx + shift, w, place, w, place)


@inner
def norm_backward_params(task, op, job, first, size):
    """``dweight = sum over the batch of dy * normal`` and ``dbias = sum over the batch of dy``.

    Of features ``first .. first + size``; one chain over the batch for each, in order.
    """
    w, dweight = job.work, scratch_of(job)
    dbias = dweight + op.y_stride
    begin_sums(task if op.has_weight else UPDATE, job, op.weight, first, size, op.width_in, dweight)
    begin_sums(task if op.has_bias else UPDATE, job, op.bias, first, size, op.width_in, dbias)
    for n in range(job.rows):
        dy, x, kept = op.dy + n * op.y_stride + first, op.x + n * op.x_stride + first, op.kept + n * KEPT
        _add(size, w, dy, w, x, w, dweight, w, dbias, w, dweight, w, dbias, w, kept)
    if op.has_weight:
        hand_over(task, job, op.optimizer, op.weight, first, size, op.width_in, dweight)
    if op.has_bias:
        hand_over(task, job, op.bias_optimizer, op.bias, first, size, op.width_in, dbias)


@block("norm", eps=np.float64, centred=np.int64, kept=np.int64, **VECTORS)
def _norm(task, op, job, row, rows, at):
    if task == FORWARD:
        norm_forward(op, job, rows, at)
    elif task == BACKWARD:
        norm_backward_input(op, job, rows, at)
    elif rows > 0:
        norm_backward_params(task, op, job, row, rows)


class Norm(VectorOp):
    """A layer norm, or with `centred` False an RMS norm. An eps of None is that of the dtype."""

    block: Block = _norm

    def __init__(self, width: int, weight: int, bias: int, eps: float | None, centred: bool):
        super().__init__(width, weight, bias)
        self.eps, self.centred = eps, centred
        self.name = "layer_norm" if centred else "rms_norm"

    def costs(self, lanes: int) -> None:
        """Not with the rows along the vectors: the sums over a row would have another order."""

    def tasks(self, record: Any) -> set[int]:
        return super().tasks(record) - {FORWARD_FEATURE_MAJOR}

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.eps = float(np.finfo(memory.dtype).eps) if self.eps is None else self.eps
        record.centred = self.centred
        record.kept = memory.take(KEPT * memory.batch)
