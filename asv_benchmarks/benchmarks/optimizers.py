"""Optimizers: the block of each, alone, on flat memory."""

from __future__ import annotations

from functools import cache

import numpy as np

from . import entries
from .calls import times_of
from .networks import build
from .setting import Entry, engine_of, pin

#: Parameters. With state and gradients they take up half of the second-level cache at most: four times as many came out 20 %
#: slower in some processes than in others, by where their pages lay.
SIZE = 16_384

#: From one array to the next, so that in every process they lie in the same way to each other.
APART = SIZE + 80

#: Steps of a body.
TIMES = 800


@cache
def stepper(entry: str, dtype: str):
    """A function that takes as many steps as it is told."""
    engine = engine_of()
    # So small a rate that the parameters, and so the cost of a step, stay what they are.
    optimizer = entries.make(entry, list(build((1, 1)).parameters()), lr=1e-9)
    (update,) = optimizer._updates()
    update.size = SIZE
    job = engine.Program.of_updates([update], np.dtype(dtype)).job()
    memory = engine.zeros((2 + len(optimizer.state)) * APART, np.dtype(dtype))
    params, grads, state = memory[:SIZE], memory[APART : APART + SIZE], memory[2 * APART :]
    grads[:] = np.random.default_rng(0).standard_normal(SIZE)
    scalars = np.zeros((TIMES, update.scalars), dtype)
    optimizer._fill_scalars(scalars, np.arange(1, 1 + TIMES), None)
    job.set(params=params, grads=grads, state=state, scalars=scalars.reshape(-1))
    job.run.params = APART
    nowhere = np.zeros((1, 1), dtype)
    return times_of(job, nowhere, nowhere)


class Steps(Entry):
    """800 steps of 16,384 parameters."""

    params = (entries.optimizers(), ["float32"])
    param_names = ("optimizer", "dtype")
    covers = ("blocks.optimizers",)

    def setup(self, entry, dtype):
        pin(1)
        self.run = stepper(entry, dtype)

    def time_800_steps(self, entry, dtype):
        self.run(TIMES)
