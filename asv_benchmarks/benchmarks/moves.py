"""What moves or looks at numbers: rows into the workspace and out of it, transposed copies, shuffles, scans of the input."""

from __future__ import annotations

from functools import cache

import numba
import numpy as np

import fastmlp as fm

from .calls import only, task, times_of
from .setting import DTYPES, Timed, engine_of, kernel, matrix, pin


@cache
def mover(direction: str, shape: str):
    """A function that moves rows as often as it is told."""
    engine, (rows, width) = engine_of(), map(int, shape.split("x"))
    x = np.random.default_rng(0).standard_normal((rows, width)).astype(np.float32)
    job = engine.Program.both_ways(fm.ReLU()._ops(width), x.dtype, batch=rows).job()
    y = np.empty_like(x)
    engine.run(job.handle, 0, x, y, 0, 1)
    job.set(order=np.random.default_rng(1).permutation(rows))
    job.run.gathers = direction == "gather"
    only(job, 2 if direction == "output" else 0, task("FORWARD"))
    return times_of(job, x, y)


class Rows(Timed):
    """``TIMES[shape]`` times the rows of a batch: gathered, copied in, or copied out."""

    TIMES = {"1000x2": 4000, "128x784": 400}
    params = (["gather", "input", "output"], list(TIMES))
    param_names = ("direction", "rows x width")
    covers = ("blocks.moves",)

    def setup(self, direction, shape):
        pin(1)
        self.run, self.times = mover(direction, shape), self.TIMES[shape]

    def time_batches(self, direction, shape):
        self.run(self.times)


@cache
def transposer(shape: str, dtype: str):
    """A function that transposes a weight as often as it is told, in a compiled loop; compiled."""
    transpose = kernel("transpose.transpose", "target", "source", "zero", "first", "last", "columns")
    flags = kernel("jit.FLAGS")
    from fastmlp.kernels.layout import whole_lines

    @numba.njit(**flags)
    def run(target, source, zero, rows, columns, times):
        for _ in range(times):
            transpose(target, source, zero, 0, rows, columns)

    rows, columns = map(int, shape.split("x"))
    source = matrix(rows, columns, dtype)
    target = matrix(whole_lines(columns, np.dtype(dtype)), rows, dtype)
    zero = np.zeros((1, max(target.shape[1], source.shape[1])), dtype)
    run(target, source, zero, rows, columns, 1)
    return lambda times: run(target, source, zero, rows, columns, times)


class Transpose(Timed):
    """``TIMES[shape]`` transposed copies of a weight."""

    TIMES = {"25x25": 50_000, "784x512": 50}
    params = (list(TIMES), DTYPES)
    param_names = ("inputs x outputs", "dtype")
    covers = ("transpose.transpose",)

    def setup(self, shape, dtype):
        pin(1)
        self.run, self.times = transposer(shape, dtype), self.TIMES[shape]

    def time_copies(self, shape, dtype):
        self.run(self.times)


@cache
def shuffler(rows: int):
    """The kernel and the order that it fills; called once."""
    run, order = kernel("shuffle.epoch_order", "order", "seed", "epoch"), np.arange(rows)
    run(order, 0, 0)
    return run, order


class Shuffle(Timed):
    """``TIMES[rows]`` new orders of so many rows."""

    TIMES = {1000: 1000, 60_000: 15}
    params = (list(TIMES),)
    param_names = ("rows",)
    covers = ("shuffle.epoch_order", "shuffle.shuffle")

    def setup(self, rows):
        pin(1)
        (self.run, self.order), self.epochs = shuffler(rows), range(self.TIMES[rows])

    def time_orders(self, rows):
        for epoch in self.epochs:
            self.run(self.order, 0, epoch)


@cache
def all_finite(dtype: str):
    """The kernel and numbers to look at; called once."""
    run, values = kernel("scan.all_finite", "values"), np.random.default_rng(0).standard_normal(100_000).astype(dtype)
    run(values)
    return run, values


class AllFinite(Timed):
    """200 looks at 100,000 numbers."""

    params = (DTYPES,)
    param_names = ("dtype",)
    covers = ("scan.all_finite",)

    def setup(self, dtype):
        pin(1)
        self.run, self.values = all_finite(dtype)

    def time_200_calls(self, dtype):
        for _ in range(200):
            self.run(self.values)


@cache
def first_outside():
    """The kernel and labels to look at; called once."""
    run, labels = kernel("scan.first_outside", "labels", "classes"), np.random.default_rng(0).integers(0, 10, 60_000)
    run(labels, 10)
    return run, labels


class FirstOutside(Timed):
    """100 looks at 60,000 labels."""

    covers = ("scan.first_outside",)

    def setup(self):
        pin(1)
        self.run, self.labels = first_outside()

    def time_100_calls(self):
        for _ in range(100):
            self.run(self.labels, 10)


@cache
def first_beyond(dtype: str):
    """The kernel and probabilities to look at; called once."""
    run = kernel("scan.first_beyond", "values", "low", "high", "ends")
    values = np.random.default_rng(0).random(60_000).astype(dtype)
    run(values, 0.0, 1.0, False)
    return run, values


class FirstBeyond(Timed):
    """100 looks at 60,000 probabilities."""

    params = (DTYPES,)
    param_names = ("dtype",)
    covers = ("scan.first_beyond",)

    def setup(self, dtype):
        pin(1)
        self.run, self.values = first_beyond(dtype)

    def time_100_calls(self, dtype):
        for _ in range(100):
            self.run(self.values, 0.0, 1.0, False)
