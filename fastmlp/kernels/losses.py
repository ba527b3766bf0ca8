"""Losses over the rows of a matrix: the loss of each row, and the gradient with respect to the outputs.

Each is a pair. The forward kernel leaves in `saved` what the backward one turns, in place, into the gradient. A row's
numbers depend on that row alone, so rows may be shared out between threads.
"""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.intrinsics import muladd
from fastmlp.kernels.compiler.jit import kernel
from fastmlp.kernels.elementary import exp, log
from fastmlp.kernels.layout import LINE_BYTES

__all__ = [
    "CROSS_ENTROPY",
    "LOSS_ROWS",
    "MSE",
    "SPARE_ROWS",
    "cross_entropy_backward",
    "cross_entropy_forward",
    "loss_sum",
    "mse_backward",
    "mse_forward",
]

# Codes of a program.
CROSS_ENTROPY, MSE = 1, 2

#: Rows whose cross entropy is computed together, and rows of the scratch matrix beside those of the classes.
LOSS_ROWS, SPARE_ROWS = 64, 2


@kernel
def cross_entropy_forward(losses, saved, logits, labels, columns, O):
    """``losses[n] = log(sum_j exp(logits[n, j])) - logits[n, labels[n]]``, the largest logit subtracted first.

    losses (N), saved (N, O) out: saved becomes softmax(logits), beyond O it is left alone;  logits (N, O), labels (N),
    0 <= label < O, in;  columns (O + SPARE_ROWS, LOSS_ROWS) scratch.

    A NaN or an infinite logit makes the loss of its row NaN.
    """
    # LOSS_ROWS rows at a time are turned, so that a vector holds the same class of many rows: no sum runs along a vector,
    # whatever the number of classes. Row by row, 100 rows of 2 logits took 2.0 us.
    lanes = LINE_BYTES // losses.itemsize
    largest, total = columns[O], columns[O + 1]
    one, zero = losses.dtype.type(1), losses.dtype.type(0)
    for first in range(0, logits.shape[0], LOSS_ROWS):
        rows = min(LOSS_ROWS, logits.shape[0] - first)
        width = (rows + lanes - 1) // lanes * lanes
        for j in range(O):
            for i in range(rows):
                columns[j, i] = logits[first + i, j]
        for i in range(width):
            largest[i] = columns[0, i]
            total[i] = zero
        for j in range(1, O):
            for i in range(width):
                largest[i] = max(largest[i], columns[j, i])
        for j in range(O):
            for i in range(width):
                columns[j, i] = exp(columns[j, i] - largest[i])
                total[i] += columns[j, i]
        for i in range(rows):
            losses[first + i] = largest[i] - logits[first + i, labels[first + i]]
        for i in range(width):
            largest[i] = log(total[i])
            total[i] = one / total[i]
        for i in range(rows):
            losses[first + i] += largest[i]
        for j in range(O):
            for i in range(width):
                columns[j, i] *= total[i]
            for i in range(rows):
                saved[first + i, j] = columns[j, i]


@kernel
def cross_entropy_backward(dlogits, labels, scale):
    """``dlogits = scale * (softmax(logits) - onehot(labels))``; `dlogits` is `saved` of the forward pass on entry.

    dlogits (N, padded O) in/out; labels (N) in; scale is 1 / N for the mean over the batch.
    """
    flat = dlogits.reshape(-1)
    for i in range(flat.size):
        flat[i] = flat[i] * scale
    for n in range(dlogits.shape[0]):
        dlogits[n, labels[n]] -= scale


@kernel
def mse_forward(losses, saved, outputs, targets, O):
    """``losses[n] = sum_j (outputs[n, j] - targets[n, j])^2``.

    losses (N) out; saved (N, padded O) out: outputs - targets, zero in the padding; outputs, targets (N, padded O) in.
    """
    zero = saved.dtype.type(0)
    for n in range(outputs.shape[0]):
        for j in range(O):
            saved[n, j] = outputs[n, j] - targets[n, j]
        for j in range(O, saved.shape[1]):
            saved[n, j] = zero
    for n in range(outputs.shape[0]):
        total = saved[n, 0] * saved[n, 0]
        for j in range(1, O):
            total = muladd(saved[n, j], saved[n, j], total)
        losses[n] = total


@kernel
def mse_backward(doutputs, scale):
    """``doutputs = scale * (outputs - targets)``; `doutputs` is `saved` on entry. Scale: 2 / (N O) for the mean."""
    flat = doutputs.reshape(-1)
    for i in range(flat.size):
        flat[i] = flat[i] * scale


@kernel
def loss_sum(losses):
    """The sum of a batch's losses in float64, in four chains: the same for any number of threads."""
    a = b = c = d = 0.0
    whole = losses.size // 4 * 4
    for n in range(0, whole, 4):
        a += np.float64(losses[n])
        b += np.float64(losses[n + 1])
        c += np.float64(losses[n + 2])
        d += np.float64(losses[n + 3])
    for n in range(whole, losses.size):
        a += np.float64(losses[n])
    return (a + b) + (c + d)
