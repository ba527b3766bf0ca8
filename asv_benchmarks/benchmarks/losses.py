"""Losses and their gradients: the block of each, alone, on outputs of training's shapes.

A gradient is timed together with the loss before it: some are formed in place of what the loss has left there.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from . import entries
from .calls import only, task, times_of
from .setting import Entry, engine_of, pin

#: Rows x outputs, and the calls of a body.
SHAPES = {"100x2": 4000, "128x10": 2000, "1000x100": 40}

#: Those that most networks have: in all shapes.
USUAL = ["CrossEntropyLoss()", "MSELoss()"]


@cache
def looping(entry: str, shape: str, dtype: str, *tasks: str, weighted: bool = False):
    """A function that has these tasks done as often as it is told."""
    engine = engine_of()
    rows, width = map(int, shape.split("x"))
    criterion = entries.make(entry.replace("'columns'", str([0.125 * (1 + j % 5) for j in range(width)])))
    labels = "labels" in getattr(criterion, "targets", ["labels"] * getattr(criterion, "takes_labels", False))
    rng = np.random.default_rng(0)
    # Outputs and targets that are probabilities, too: any loss takes them.
    out, targets = (rng.uniform(0.1, 0.9, (rows, width)).astype(dtype) for _ in range(2))
    op = criterion._op(width, weighted=True) if weighted else criterion._op(width)
    job = engine.Program.of_loss(op, np.dtype(dtype), batch=rows).job()
    job.set(labels=rng.integers(0, width, rows))
    if weighted:
        job.set(weights=rng.uniform(0.1, 0.9, rows).astype(dtype))
    y = out if labels else targets
    engine.run(job.handle, 0, out, y, 0, 1)
    only(job, 1, *map(task, tasks))
    return times_of(job, out, y)


class Forward(Entry):
    """As many losses of a batch as ``SHAPES`` says, and the sums over their rows."""

    params = (USUAL, list(SHAPES), ["float32"])
    param_names = ("loss", "rows x outputs", "dtype")
    covers = ("blocks.cross_entropy", "blocks.elementwise_loss", "scan.row_sum")

    def setup(self, entry, shape, dtype):
        pin(1)
        self.run, self.times = looping(entry, shape, dtype, "FORWARD"), SHAPES[shape]

    def time_losses(self, entry, shape, dtype):
        self.run(self.times)


class ForwardAndBackward(Entry):
    """As many losses and gradients of a batch of 128 rows of 10 outputs as ``SHAPES`` says."""

    params = (entries.criteria(), ["128x10"], ["float32"])
    param_names = ("loss", "rows x outputs", "dtype")
    covers = (
        "blocks.cross_entropy",
        "blocks.elementwise_loss",
        "blocks.gaussian_nll",
        "blocks.multi_margin",
        "blocks.nll",
        "blocks.soft_cross_entropy",
    )

    def setup(self, entry, shape, dtype):
        pin(1)
        self.run, self.times = looping(entry, shape, dtype, "FORWARD", "BACKWARD"), SHAPES[shape]

    def time_losses_and_gradients(self, entry, shape, dtype):
        self.run(self.times)


class Weighted(Entry):
    """As `ForwardAndBackward`, with weights of rows, and their sum."""

    params = (USUAL, ["128x10"], ["float32"])
    param_names = ("loss", "rows x outputs", "dtype")
    covers = ("blocks.elementwise_loss", "blocks.soft_cross_entropy")

    def setup(self, entry, shape, dtype):
        pin(1)
        self.run, self.times = looping(entry, shape, dtype, "WEIGH", "FORWARD", "BACKWARD", weighted=True), SHAPES[shape]

    def time_weighted_losses_and_gradients(self, entry, shape, dtype):
        self.run(self.times)
