"""The negative log-likelihood of a normal distribution, of which the outputs are means and logarithms of variances."""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.block import Block, block
from fastmlp.kernels.blocks.elementwise_loss import clear_rows, scale_losses
from fastmlp.kernels.blocks.reduction import LOSS_FIELDS, Loss, scale_of, weigh
from fastmlp.kernels.compiler.intrinsics import matrix, vector
from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.elementary import exp
from fastmlp.kernels.op import BACKWARD, FORWARD, WEIGH, Memory

__all__ = ["GaussianNLL"]


@inner
def gaussian_nll(delta, output, target, floor, constant, O):
    """``sum over j < O of (s + d^2 exp(-s)) / 2 + constant``, ``d = output[j] - target[j]``, ``s = max(output[O + j], floor)``.

    delta (2 O) out: the gradient by the outputs, as if s did not stop at the floor, but with the variance that it has there.
    """
    half, one = delta.dtype.type(0.5), delta.dtype.type(1)
    loss = delta.dtype.type(0)
    for j in range(O):
        d, s = output[j] - target[j], output[O + j]
        below = s < floor
        share = exp(s - floor) if below else one
        s = floor if below else s
        precise = d * exp(-s)
        loss += half * (s + d * precise) + constant
        delta[j] = precise
        delta[O + j] = half * (one - d * precise) * share
    return loss


@block("gaussian_nll", **LOSS_FIELDS, least=np.int64)  # offset of the logarithm of the least variance, and of the constant
def _gaussian_nll(task, op, job, row, rows, at):
    w, O = job.work, op.width_in // 2
    deltas = matrix(w, op.dx + at * op.x_stride, rows, op.x_stride)
    if task == FORWARD:
        outputs = matrix(w, op.x + at * op.x_stride, rows, op.x_stride)
        losses = vector(w, job.run.losses + at, rows)
        for n in range(rows):
            given = job.order[job.start + row + n] if job.run.gathers else row + n
            target = vector(job.y, given * O, O)
            losses[n] = gaussian_nll(deltas[n], outputs[n], target, w[op.least], w[op.least + 1], O)
        if op.row_weights >= 0:
            scale_losses(losses, vector(w, op.row_weights + at, rows))
    elif task == BACKWARD:
        scale = scale_of(op, job)
        for n in range(rows):
            weight = w[op.row_weights + at + n] * scale if op.row_weights >= 0 else scale
            for j in range(2 * O):
                deltas[n, j] *= weight
        if op.row_weights >= 0:
            clear_rows(deltas, vector(w, op.row_weights + at, rows))
    elif task == WEIGH and rows > 0:
        weigh(op, job)


class GaussianNLL(Loss):
    """Of means, then logarithms of variances, and targets; leaves the delta, but for its scale, where that will be."""

    block: Block = _gaussian_nll
    name = "gaussian_nll"

    def __init__(self, width: int, least: float, constant: float, *, terms: int, weighted: bool):
        super().__init__(width, terms=terms, weighted=weighted)
        self.least, self.constant = least, constant

    def lay_out(self, record: Any, memory: Memory) -> None:
        super().lay_out(record, memory)
        record.least = memory.take_values((self.least, self.constant))
