"""The hinge of several classes: every other output is to stay a margin below that of the label."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.elementwise_loss import clear_rows, scale_losses
from fastmlp.kernels.blocks.reduction import LOSS_FIELDS, Loss, row_label, scale_of, weigh
from fastmlp.kernels.compiler.intrinsics import matrix, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.op import BACKWARD, FORWARD, WEIGH, Memory

__all__ = ["MultiMargin"]


@inner
def multi_margin(delta, output, label, margin, weight, squared, O):
    """``sum over j != label of z[j]^p / O * weight`` with ``z[j] = max(0, margin - output[label] + output[j])``.

    delta (O) out: the gradient by the outputs. Where a margin is just met the gradient is 0.
    """
    loss = taken = zero = delta.dtype.type(0)
    share = weight / delta.dtype.type(O)
    for j in range(O):
        z = margin - output[label] + output[j]
        slope = zero
        if j != label and not z <= zero:  # NaN goes on
            loss += share * z * z if squared else share * z
            slope = share * (z + z) if squared else share
        delta[j] = slope
        taken += slope
    delta[label] = -taken
    return loss


@block("multi_margin", **LOSS_FIELDS, margin=np.int64, squared=np.int64, classes=np.int64)  # two are offsets
def _multi_margin(task, op, job, row, rows, at):
    w, O = job.work, op.width_in
    deltas = matrix(w, op.dx + at * op.x_stride, rows, op.x_stride)
    if task == FORWARD:
        outputs = matrix(w, op.x + at * op.x_stride, rows, op.x_stride)
        losses, margin = vector(w, job.run.losses + at, rows), w[op.margin]
        for n in range(rows):
            label = row_label(job, row + n)
            losses[n] = multi_margin(deltas[n], outputs[n], label, margin, w[op.classes + label], op.squared, O)
        if op.row_weights >= 0:
            scale_losses(losses, vector(w, op.row_weights + at, rows))
    elif task == BACKWARD:
        scale = scale_of(op, job)
        for n in range(rows):
            weight = w[op.row_weights + at + n] * scale if op.row_weights >= 0 else scale
            for j in range(O):
                deltas[n, j] *= weight
        if op.row_weights >= 0:
            clear_rows(deltas, vector(w, op.row_weights + at, rows))
    elif task == WEIGH and rows > 0:
        weigh(op, job)


class MultiMargin(Loss):
    """Of outputs and labels; each class has a weight. Leaves the delta, but for its scale, where that will be."""

    block: Block = _multi_margin
    name = "multi_margin"

    def __init__(self, classes: tuple[float, ...], margin: float, *, squared: bool, terms: int, weighted: bool):
        super().__init__(len(classes), terms=terms, weighted=weighted)
        self.classes, self.margin, self.squared = classes, margin, squared

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.classes, record.margin = memory.take_values(self.classes), memory.take_values((self.margin,))
        record.squared = int(self.squared)
