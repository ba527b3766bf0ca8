"""The negative log-likelihood of labels, from log-probabilities."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.reduction import LOSS_FIELDS, Loss, row_label, scale_of, weigh_labels
from fastmlp.kernels.compiler.intrinsics import matrix
from fastmlp.kernels.op import BACKWARD, FORWARD, WEIGH, Memory

__all__ = ["NLL"]


@block("nll", **LOSS_FIELDS, classes=np.int64, labels=np.int64)  # offsets; that of the labels in the workspace of integers
def _nll(task, op, job, row, rows, at):
    w = job.work
    if task == FORWARD:
        for n in range(rows):
            weight = w[op.row_weights + at + n] if op.row_weights >= 0 else w.dtype.type(1)
            label = row_label(job, row + n) if weight != 0 else -1  # a row that is ignored may have any
            job.integers[op.labels + at + n] = label
            place = job.run.losses + at + n
            w[place] = -w[op.x + (at + n) * op.x_stride + label] * w[op.classes + label] * weight if label >= 0 else weight
    elif task == BACKWARD:
        scale, zero = scale_of(op, job), w.dtype.type(0)
        deltas = matrix(w, op.dx + at * op.x_stride, rows, op.x_stride)
        for n in range(rows):
            for j in range(op.x_stride):
                deltas[n, j] = zero
            label = job.integers[op.labels + at + n]
            if label >= 0:
                weight = w[op.row_weights + at + n] if op.row_weights >= 0 else w.dtype.type(1)
                deltas[n, label] = -w[op.classes + label] * weight * scale
    elif task == WEIGH and rows > 0:
        weigh_labels(op, job, op.classes)


class NLL(Loss):
    """Of log-probabilities and labels; each class has a weight."""

    block: Block = _nll
    name = "nll"

    def __init__(self, classes: tuple[float, ...], *, terms: int, weighted: bool):
        super().__init__(len(classes), terms=terms, weighted=weighted)
        self.classes = classes

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.classes = memory.take_values(self.classes)
        record.labels = memory.take_integers(memory.batch)
