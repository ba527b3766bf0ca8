"""Losses and their gradients: the block of each, alone, on outputs of training's shapes.

A gradient is timed together with the loss before it: some are formed in place of what the loss has left there.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from . import entries
from .calls import only, task, times_of
from .setting import DTYPES, Timed, engine_of, pin

#: Rows x outputs, and the calls of a body.
SHAPES = {"100x2": 4000, "128x10": 2000, "1000x100": 40}


@cache
def looping(entry: str, shape: str, dtype: str, *tasks: str):
    """A function that has these tasks done as often as it is told."""
    engine, criterion = engine_of(), entries.make(entry)
    rows, width = map(int, shape.split("x"))
    rng = np.random.default_rng(0)
    # Outputs and targets that are probabilities, too: any loss takes them.
    out, targets = (rng.uniform(0.1, 0.9, (rows, width)).astype(dtype) for _ in range(2))
    job = engine.Program.of_loss(criterion._op(width), np.dtype(dtype), batch=rows).job()
    job.set(labels=rng.integers(0, width, rows))
    y = out if criterion.takes_labels else targets
    engine.run(job.handle, 0, out, y, 0, 1)
    only(job, 1, *map(task, tasks))
    return times_of(job, out, y)


class Forward(Timed):
    """As many losses of a batch as ``SHAPES`` says, and the sums over their rows."""

    params = (entries.criteria(), list(SHAPES), DTYPES)
    param_names = ("loss", "rows x outputs", "dtype")
    covers = ("blocks.cross_entropy", "blocks.elementwise_loss", "scan.row_sum")

    def setup(self, entry, shape, dtype):
        pin(1)
        self.run, self.times = looping(entry, shape, dtype, "FORWARD"), SHAPES[shape]

    def time_losses(self, entry, shape, dtype):
        self.run(self.times)


class ForwardAndBackward(Timed):
    """As many losses and gradients of a batch as ``SHAPES`` says."""

    params = (entries.criteria(), list(SHAPES), DTYPES)
    param_names = ("loss", "rows x outputs", "dtype")
    covers = ("blocks.cross_entropy", "blocks.elementwise_loss")

    def setup(self, entry, shape, dtype):
        pin(1)
        self.run, self.times = looping(entry, shape, dtype, "FORWARD", "BACKWARD"), SHAPES[shape]

    def time_losses_and_gradients(self, entry, shape, dtype):
        self.run(self.times)
