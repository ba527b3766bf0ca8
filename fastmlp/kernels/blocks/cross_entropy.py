"""Cross entropy of logits against labels: the loss of each row, and the gradient by the logits."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.reduction import LOSS_FIELDS, Loss, scale_of
from fastmlp.kernels.compiler.intrinsics import itemsize_of, least, matrix, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.compiler.lines import lines_pass
from fastmlp.kernels.elementary import exp, log, select
from fastmlp.kernels.layout import LINE_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD, Memory

__all__ = ["CrossEntropy", "cross_entropy_backward", "cross_entropy_forward", "limit_losses"]

#: Rows whose cross entropy is computed together, and rows of the scratch matrix beside those of the classes.
LOSS_ROWS, SPARE_ROWS = 64, 2

# Not `maximum`, which has NaN of either: the exponentials that follow have it anyway.
_larger_of = lines_pass(lambda here, before: select(here > before, here, before), inputs=2)


@inner
def cross_entropy_forward(losses, saved, logits, labels, columns, O):
    """``losses[n] = log(sum_j exp(logits[n, j])) - logits[n, labels[n]]``, the largest logit subtracted first.

    losses (N), saved (N, O) out: saved becomes softmax(logits), beyond O it is left alone;  logits (N, O), labels (N),
    0 <= label < O, in;  columns (O + SPARE_ROWS, LOSS_ROWS) scratch;  N <= LOSS_ROWS.

    A NaN or an infinite logit makes the loss of its row NaN.
    """
    # The rows are turned, so that a vector holds the same class of many rows: no sum runs along a vector, whatever the number
    # of classes. Row by row, 100 rows of 2 logits took 2.0 us. Each index counts from zero: Numba would look for negative ones,
    # with indices into a larger matrix, and 100 rows took 720 ns instead of 410.
    lanes = LINE_BYTES // itemsize_of(losses)
    largest, total = columns[O], columns[O + 1]
    one, zero = losses.dtype.type(1), losses.dtype.type(0)
    rows = losses.size
    width = (rows + lanes - 1) // lanes * lanes
    for j in range(O):
        for i in range(rows):
            columns[j, i] = logits[i, j]
    for i in range(width):
        largest[i] = columns[0, i]
        total[i] = zero
    for j in range(1, O):
        _larger_of(width, columns[j], 0, largest, 0, largest, 0, largest, 0)
    for j in range(O):
        for i in range(width):
            columns[j, i] = exp(columns[j, i] - largest[i])
            total[i] += columns[j, i]
    for i in range(rows):
        losses[i] = largest[i] - logits[i, labels[i]]
    for i in range(width):
        largest[i] = log(total[i])
        total[i] = one / total[i]
    for i in range(rows):
        losses[i] += largest[i]
    for j in range(O):
        for i in range(width):
            columns[j, i] *= total[i]
        for i in range(rows):
            saved[i, j] = columns[j, i]


@inner
def cross_entropy_backward(dlogits, labels, stride, scale):
    """``dlogits = scale * (softmax(logits) - onehot(labels))``; `dlogits` is `saved` of the forward pass on entry.

    dlogits (N times padded O, the stride) in/out, flat; labels (N) in; scale is 1 / N for the mean over the batch.
    """
    for i in range(dlogits.size):
        dlogits[i] *= scale
    rows = matrix(dlogits, 0, labels.size, stride)
    for n in range(labels.size):
        rows[n, np.uintp(labels[n])] -= scale


@inner
def limit_losses(losses, most):
    """No loss of a row is more than `most`; NaN stays NaN."""
    for n in range(losses.size):
        if losses[n] > most:
            losses[n] = most


@inner
def take_labels(op, job, row, rows, at):
    """Bring the labels of the rows at hand into the workspace."""
    labels = vector(job.integers, op.labels + at, rows)
    if job.run.gathers:
        order = vector(job.order, job.start + row, rows)
        for n in range(rows):
            labels[n] = job.labels[np.uintp(order[n])]
    else:
        given = vector(job.labels, row, rows)
        for n in range(rows):
            labels[n] = given[n]


# Offsets in the workspace of integers, and of the largest loss of a row in that of numbers, -1 where there is none.
@block("cross_entropy", **LOSS_FIELDS, labels=np.int64, most=np.int64)
def _cross_entropy(task, op, job, row, rows, at):
    stride, O = op.x_stride, op.width_in
    if task == FORWARD:
        take_labels(op, job, row, rows, at)
        scratch_at = job.run.scratch + job.thread * job.run.scratch_size
        columns = matrix(job.work, scratch_at, O + SPARE_ROWS, LOSS_ROWS)
        for first in range(0, rows, LOSS_ROWS):
            n, place = least(LOSS_ROWS, rows - first), at + first
            losses = vector(job.work, job.run.losses + place, n)
            saved = matrix(job.work, op.dx + place * stride, n, stride)
            logits = matrix(job.work, op.x + place * stride, n, stride)
            cross_entropy_forward(losses, saved, logits, vector(job.integers, op.labels + place, n), columns, O)
            if op.most >= 0:
                limit_losses(losses, job.work[op.most])
    elif task == BACKWARD:
        delta, labels = vector(job.work, op.dx + at * stride, rows * stride), vector(job.integers, op.labels + at, rows)
        cross_entropy_backward(delta, labels, stride, scale_of(op, job))


class CrossEntropy(Loss):
    """Of logits and labels, all of which count alike; leaves their softmax where the delta will be."""

    block: Block = _cross_entropy
    name = "cross_entropy"
    most: float | None = None  # that the loss of a row is

    def __init__(self, width: int, *, terms: int = 1):
        super().__init__(width, terms=terms, weighted=False)

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.labels = memory.take_integers(memory.batch)
        record.most = -1 if self.most is None else memory.take_values((self.most,))
        memory.want_scratch((self.width_in + SPARE_ROWS) * LOSS_ROWS)
