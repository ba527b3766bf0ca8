"""Cross entropy in general: weights of rows and of classes, smoothed labels, probabilities as targets."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.cross_entropy import LOSS_ROWS, limit_losses
from fastmlp.kernels.blocks.elementwise_loss import clear_rows, scale_losses, take_targets
from fastmlp.kernels.blocks.reduction import LOSS_FIELDS, Loss, row_label, scale_of, weigh, weigh_labels
from fastmlp.kernels.compiler.intrinsics import itemsize_of, least, matrix, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.elementary import exp, log
from fastmlp.kernels.layout import LINE_BYTES
from fastmlp.kernels.op import BACKWARD, FORWARD, WEIGH, Memory

__all__ = ["SoftCrossEntropy", "soft_cross_entropy_forward"]

#: Rows of the scratch matrix beside those of the logits and those of the targets.
SPARE_ROWS = 4


@inner
def soft_cross_entropy_forward(losses, deltas, logits, targets, classes, columns, O):
    """``losses[n] = -sum_j t[n, j] log softmax(logits[n])[j]`` and its gradient, with ``t[n, j] = classes[j] targets[n, j]``.

    losses (N), deltas (N, O) out: ``deltas = softmax(logits) sum_j t[n, j] - t``;  logits, targets (N, O), classes (O) in;
    columns (2 O + SPARE_ROWS, LOSS_ROWS) scratch.
    """
    # LOSS_ROWS rows at a time are turned, as in cross_entropy_forward. The logarithm of a probability is the logit less the
    # largest one, less log(total): to add the two first would lose the second where logits are large. Where t is 0 nothing is
    # added, be the logarithm infinite.
    lanes = LINE_BYTES // itemsize_of(losses)
    largest, total, mass, dot = columns[2 * O], columns[2 * O + 1], columns[2 * O + 2], columns[2 * O + 3]
    zero = losses.dtype.type(0)
    for first in range(0, logits.shape[0], LOSS_ROWS):
        rows = least(LOSS_ROWS, logits.shape[0] - first)
        width = (rows + lanes - 1) // lanes * lanes
        for j in range(O):
            for i in range(rows):
                columns[j, i] = logits[first + i, j]
                columns[O + j, i] = classes[j] * targets[first + i, j]
        for i in range(width):
            largest[i] = columns[0, i]
            total[i] = mass[i] = dot[i] = zero
        for j in range(1, O):
            for i in range(width):
                largest[i] = max(largest[i], columns[j, i])
        for j in range(O):
            for i in range(width):
                below = columns[j, i] - largest[i]
                t = columns[O + j, i]
                mass[i] += t
                dot[i] += t * below if t != zero else zero
                columns[j, i] = exp(below)
                total[i] += columns[j, i]
        for i in range(width):
            dot[i] = log(total[i]) * mass[i] - dot[i]
            total[i] = mass[i] / total[i]
        for i in range(rows):
            losses[first + i] = dot[i]
        for j in range(O):
            for i in range(width):
                columns[j, i] = columns[j, i] * total[i] - columns[O + j, i]
            for i in range(rows):
                deltas[first + i, j] = columns[j, i]


@inner
def take_labels(op, job, targets, row, O):
    """Targets of these rows as labels say: 1 at the label, smoothed."""
    share = job.work[op.smoothing]
    one = job.work.dtype.type(1)
    elsewhere = share / job.work.dtype.type(O)
    for n in range(targets.shape[0]):
        for j in range(O):
            targets[n, j] = elsewhere
        label = row_label(job, row + n)
        if 0 <= label < O:  # a row that is ignored may have any
            targets[n, label] += one - share


@inner
def smooth(op, job, targets, O):
    """Targets that are probabilities, smoothed."""
    share = job.work[op.smoothing]
    one = job.work.dtype.type(1)
    if share != 0:
        for n in range(targets.shape[0]):
            for j in range(O):
                targets[n, j] = targets[n, j] * (one - share) + share / job.work.dtype.type(O)


# Offsets: of the targets, of the numbers of the classes, of the smoothing, of the largest loss of a row (-1: none); whether
# targets are labels, and classes count in D.
@block(
    "soft_cross_entropy",
    **LOSS_FIELDS,
    targets=np.int64,
    classes=np.int64,
    smoothing=np.int64,
    most=np.int64,
    labels=np.int64,
)
def _soft_cross_entropy(task, op, job, row, rows, at):
    w, O = job.work, op.width_in
    if task == FORWARD:
        targets = matrix(w, op.targets + at * op.x_stride, rows, op.x_stride)
        if op.labels:
            take_labels(op, job, targets, row, O)
        else:
            take_targets(op, job, row, rows, at)
            smooth(op, job, targets, O)
        losses = vector(w, job.run.losses + at, rows)
        deltas = matrix(w, op.dx + at * op.x_stride, rows, op.x_stride)
        logits = matrix(w, op.x + at * op.x_stride, rows, op.x_stride)
        columns = matrix(w, job.run.scratch + job.thread * job.run.scratch_size, 2 * O + SPARE_ROWS, LOSS_ROWS)
        soft_cross_entropy_forward(losses, deltas, logits, targets, vector(w, op.classes, O), columns, O)
        if op.most >= 0:
            limit_losses(losses, w[op.most])
        if op.row_weights >= 0:
            scale_losses(losses, vector(w, op.row_weights + at, rows))
    elif task == BACKWARD:
        scale = scale_of(op, job)
        deltas = matrix(w, op.dx + at * op.x_stride, rows, op.x_stride)
        for n in range(rows):
            weight = w[op.row_weights + at + n] * scale if op.row_weights >= 0 else scale
            for j in range(O):
                deltas[n, j] *= weight
        if op.row_weights >= 0:
            clear_rows(deltas, vector(w, op.row_weights + at, rows))
    elif task == WEIGH and rows > 0:
        if op.labels:
            weigh_labels(op, job, op.classes)
        else:
            weigh(op, job)


class SoftCrossEntropy(Loss):
    """Of logits and labels or, without `labels`, probabilities; leaves the delta, but for its scale, where that will be."""

    block: Block = _soft_cross_entropy
    name = "soft_cross_entropy"
    most: float | None = None  # that the loss of a row is

    def __init__(self, classes: tuple[float, ...], smoothing: float, *, labels: bool, terms: int, weighted: bool):
        super().__init__(len(classes), terms=terms, weighted=weighted)
        self.classes, self.smoothing, self.labels = classes, smoothing, labels

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.targets = memory.take(memory.batch * record.x_stride)
        record.classes = memory.take_values(self.classes)
        record.smoothing = memory.take_values((self.smoothing,))
        record.most = -1 if self.most is None else memory.take_values((self.most,))
        record.labels = int(self.labels)
        memory.want_scratch((2 * self.width_in + SPARE_ROWS) * LOSS_ROWS)
