"""What all losses have in common: what a batch's loss is divided by, and how much each row counts.

The loss of a batch is ``sum over n of weight[n] * loss[n] / D``. D is 1 for a sum. For a mean it is the sum of the weights
times the terms that the loss of a row is the sum of; without weights, the number of rows times that. The gradient of any row
needs the D of the whole batch, so where rows have weights one unit of work sums them before the first row goes forward (WEIGH),
in the order of the rows: no sum depends on the number of threads. A batch is all rows of a step, of its micro-batches together.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fastmlp.kernels.compiler.jit import inner
from fastmlp.kernels.op import WEIGH, Memory, Op

__all__ = ["LOSS_FIELDS", "Loss", "row_label", "row_weight", "scale_of", "set_total", "weigh", "weigh_labels"]

#: Of every loss: the terms of a row (0: the sum over the batch, not a mean); offsets of the weights of the rows, -1 where there
#: are none, and of 1 / D.
LOSS_FIELDS = {"terms": np.int64, "row_weights": np.int64, "scale": np.int64}


@inner
def row_label(job, n):
    """The label of row `n` of the batch."""
    return job.labels[job.order[job.start + n]] if job.run.gathers else job.labels[n]


@inner
def row_weight(job, n):
    """How much row `n` of the batch counts, from the caller's array."""
    return job.weights[job.order[job.start + n]] if job.run.gathers else job.weights[n]


@inner
def set_total(op, job, total):
    """Note the sum of the weights of the batch."""
    one = job.work.dtype.type(1)
    job.totals[0] = total
    job.work[op.scale] = one / job.work.dtype.type(total * op.terms) if op.terms > 0 else one


@inner
def take_weights(op, job):
    """Bring the weights of the rows at hand into the workspace."""
    for n in range(job.rows):
        job.work[op.row_weights + n] = row_weight(job, n)


@inner
def weigh(op, job):
    """The same; with the first rows of a step, sum the weights of all of its rows in float64."""
    take_weights(op, job)
    if job.step_row == 0:
        total = 0.0
        for n in range(job.step_rows):
            total += np.float64(row_weight(job, n))
        set_total(op, job, total)


@inner
def weigh_labels(op, job, classes):
    """The same; each counts as often as its class does, which the workspace has from `classes` on.

    A row of weight 0 may have any label.
    """
    take_weights(op, job)
    if job.step_row == 0:
        total = 0.0
        for n in range(job.step_rows):
            weight = row_weight(job, n)
            if weight != 0:
                total += np.float64(weight) * np.float64(job.work[classes + row_label(job, n)])
        set_total(op, job, total)


@inner
def scale_of(op, job):
    """``1 / D``; of a loss with weights, after WEIGH."""
    one = job.work.dtype.type(1)
    if op.row_weights >= 0:
        return job.work[op.scale]
    return one / job.work.dtype.type(job.step_rows * op.terms) if op.terms > 0 else one


class Loss(Op):
    """The base of the losses: `terms` as in `LOSS_FIELDS`; with `weighted`, each row has a weight."""

    gives_losses = True

    def __init__(self, width: int, *, terms: int, weighted: bool):
        super().__init__(width, width)
        self.terms, self.weighted, self.by_rows = terms, weighted, not weighted

    def tasks(self, record: Any) -> set[int]:
        return super().tasks(record) | ({WEIGH} if self.weighted else set())

    def lay_out(self, record: Any, memory: Memory) -> None:
        record.units, record.terms = 1, self.terms
        record.row_weights = memory.take(memory.batch) if self.weighted else -1
        record.scale = memory.take(1)
