"""Activations and their slopes: the block of each, alone."""

from __future__ import annotations

from functools import cache

import numpy as np

from . import entries
from .calls import only, task, times_of
from .setting import Entry, engine_of, pin

ROWS, WIDTH = 128, 512


@cache
def forward(entry: str, dtype: str):
    """A function that computes the activation as often as it is told."""
    job, x, y = both_ways(entry, dtype)
    only(job, 1, task("FORWARD"))
    job.ops[1].y = job.ops[1].dx  # not in place: what is applied to its own output sinks into subnormal numbers
    return times_of(job, x, y)


@cache
def backward(entry: str, dtype: str):
    """A function that computes the gradient as often as it is told."""
    job, x, y = both_ways(entry, dtype)
    only(job, 1, task("BACKWARD"))
    job.ops[1].dy = job.ops[1].y  # for the same reason; the output serves as its gradient
    return times_of(job, x, y)


def both_ways(entry: str, dtype: str):
    """The job of an activation alone, whose way forward has been gone, and its arrays."""
    engine = engine_of()
    op = entries.make(entry)._ops(WIDTH)
    job = engine.Program.both_ways(op, np.dtype(dtype), batch=ROWS).job()
    x = np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(dtype)
    y = np.empty_like(x)
    engine.run(job.handle, 0, x, y, 0, 1)
    return job, x, y


class Forward(Entry):
    """400 times the activation of a matrix of 128 x 512."""

    params = (entries.activations(), ["float32"])
    param_names = ("activation", "dtype")
    covers = ("blocks.elementwise",)

    def setup(self, entry, dtype):
        pin(1)
        self.run = forward(entry, dtype)

    def time_400_calls(self, entry, dtype):
        self.run(400)


class Backward(Entry):
    """400 times the gradient by the input of an activation, on a matrix of 128 x 512."""

    params = (entries.activations(), ["float32"])
    param_names = ("activation", "dtype")
    covers = ("blocks.elementwise",)

    def setup(self, entry, dtype):
        pin(1)
        self.run = backward(entry, dtype)

    def time_400_calls(self, entry, dtype):
        self.run(400)
