"""The tasks of a linear layer's block, each alone."""

from __future__ import annotations

from functools import cache

import numpy as np

import fastmlp as fm

from .calls import only, task, times_of
from .setting import DTYPES, Timed, engine_of, pin

#: Rows x inputs x outputs, as the workloads have them, and the calls that make one gigaflop.
SHAPES = {"100x25x25": 8000, "128x64x256": 240, "128x784x512": 10, "256x1024x1024": 2}

#: Of a batch of one row, and the calls that take about a millisecond.
ONE_ROW = {"1x25x25": 8000, "1x512x512": 100}


def arrays(shape: str, dtype: str):
    """The layer of a shape as a model of its own, an input and a gradient of the output."""
    rows, inputs, outputs = map(int, shape.split("x"))
    rng = np.random.default_rng(0)
    model = fm.Sequential(fm.Linear(inputs, outputs, rng=0), dtype=dtype)
    return model, *(rng.standard_normal((rows, width)).astype(dtype) for width in (inputs, outputs))


@cache
def alone(name: str, shape: str, dtype: str):
    """A function that does a task of eager mode as often as it is told."""
    engine, (model, x, dy) = engine_of(), arrays(shape, dtype)
    job = engine.Program.both_ways(model[0]._ops(x.shape[1]), np.dtype(dtype), batch=len(x)).job()
    job.set(params=model.storage.data, grads=model.storage.grad)
    engine.run(job.handle, 0, x, np.empty_like(dy), 0, 1)
    engine.run(job.handle, 1, np.empty_like(x), dy, 0, 1)
    only(job, 1, task(name))
    return times_of(job, x, np.empty_like(dy))


@cache
def update(shape: str, dtype: str):
    """A function that forms the gradients and takes steps of plain SGD as often as it is told, as a first layer does."""
    engine, (model, x, dy) = engine_of(), arrays(shape, dtype)
    optimizer, width = fm.SGD(model.parameters(), lr=1e-9), dy.shape[1]
    job = engine.Program.training(
        model[0]._ops(x.shape[1]),
        fm.MSELoss()._op(width),
        optimizer._updates(),
        lambda _: 0,
        np.dtype(dtype),
        batch=len(x),
        threads=1,
    ).job()
    scalars = np.zeros((1, job.run.scalars), dtype)
    optimizer._fill_scalars(scalars, np.array([1]), None)
    times = SHAPES.get(shape) or ONE_ROW[shape]
    job.set(params=model.storage.data, grads=model.storage.grad, state=np.zeros(0, dtype), order=np.arange(len(x)))
    job.set(scalars=np.repeat(scalars, times, axis=0).reshape(-1))
    job.run.params = model.storage.data.size
    engine.run(job.handle, 0, x, dy, 0, 1)
    only(job, 1, task("UPDATE"))
    return times_of(job, x, dy)


@cache
def wide(name: str, shape: str, dtype: str):
    """A function that does a task of a wide layer, the second of two, as often as it is told, as one thread alone."""
    engine, number = engine_of(), task(name)
    rows, inputs, outputs = map(int, shape.split("x"))
    rng = np.random.default_rng(0)
    model = fm.Sequential(fm.Linear(inputs, inputs, rng=0), fm.Linear(inputs, outputs, rng=0), dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=1e-9)
    ops = [op for layer in model for op in layer._ops(inputs)]
    for op in ops:
        if getattr(op, "wide_block", None) is None:
            raise NotImplementedError("no block of wide layers at this commit")
        op.wide, op.block = True, op.wide_block
    program = engine.Program.training(
        ops, fm.MSELoss()._op(outputs), optimizer._updates(), lambda _: 0, np.dtype(dtype), batch=rows, threads=1
    )
    job, scalars = program.job(), np.zeros((1, optimizer._updates()[0].scalars), dtype)
    optimizer._fill_scalars(scalars, np.array([1]), None)
    job.set(params=model.storage.data, grads=model.storage.grad, state=np.zeros(0, dtype), order=np.arange(rows))
    job.set(scalars=np.repeat(scalars, SHAPES[shape], axis=0).reshape(-1))
    job.run.params = model.storage.data.size
    x, y = (rng.standard_normal((rows, width)).astype(dtype) for width in (inputs, outputs))
    engine.run(job.handle, 0, x, y, 0, 1)
    only(job, [op for op, asked in program.calls if asked == number][-1], number)
    return times_of(job, x, y)


class Wide(Timed):
    """The products of a wide layer, whose columns threads share, and its update by plain SGD: one gigaflop of each."""

    params = (["FORWARD_COLUMNS", "BACKWARD_COLUMNS", "UPDATE"], ["256x1024x1024"], DTYPES)
    param_names = ("task", "rows x inputs x outputs", "dtype")
    covers = ("blocks.linear_wide", "panels.panel_width", "panels.transpose_panel")

    def setup(self, name, shape, dtype):
        pin(1)
        self.run, self.times = wide(name, shape, dtype), SHAPES[shape]

    def time_one_gigaflop(self, name, shape, dtype):
        self.run(self.times)


class Forward(Timed):
    """``y = x W + b``: one gigaflop of it."""

    params = (list(SHAPES), DTYPES)
    param_names = ("rows x inputs x outputs", "dtype")
    covers = ("blocks.linear", "matmul.matmul_above")

    def setup(self, shape, dtype):
        pin(1)
        self.run, self.times = alone("FORWARD", shape, dtype), SHAPES[shape]

    def time_one_gigaflop(self, shape, dtype):
        self.run(self.times)


class Backward(Timed):
    """``dx = dy W.T``: one gigaflop of it."""

    params = (list(SHAPES), DTYPES)
    param_names = ("rows x inputs x outputs", "dtype")
    covers = ("blocks.linear", "matmul.matmul")

    def setup(self, shape, dtype):
        pin(1)
        self.run, self.times = alone("BACKWARD", shape, dtype), SHAPES[shape]

    def time_one_gigaflop(self, shape, dtype):
        self.run(self.times)


class Accumulate(Timed):
    """``dW += x.T dy``, and the gradient of the bias: one gigaflop of them, as in eager mode."""

    params = (list(SHAPES), DTYPES)
    param_names = ("rows x inputs x outputs", "dtype")
    covers = ("blocks.linear",)

    def setup(self, shape, dtype):
        pin(1)
        self.run, self.times = alone("ACCUMULATE", shape, dtype), SHAPES[shape]

    def time_one_gigaflop(self, shape, dtype):
        self.run(self.times)


class Update(Timed):
    """``dW = x.T dy`` with the step of plain SGD, and that of the bias: one gigaflop of them, as in ``fit``."""

    params = (list(SHAPES), DTYPES)
    param_names = ("rows x inputs x outputs", "dtype")
    covers = ("blocks.linear", "padding.clear_unwritten")

    def setup(self, shape, dtype):
        pin(1)
        self.run, self.times = update(shape, dtype), SHAPES[shape]

    def time_one_gigaflop(self, shape, dtype):
        self.run(self.times)


class OneRow(Timed):
    """The tasks of the blocks for a batch of one row: UPDATE that of the one with the formula of plain SGD in it."""

    params = (["FORWARD", "BACKWARD", "ACCUMULATE", "UPDATE"], list(ONE_ROW), ["float32"])
    param_names = ("task", "rows x inputs x outputs", "dtype")
    covers = ("blocks.linear_row", "blocks.linear_row_update")

    def setup(self, name, shape, dtype):
        pin(1)
        self.run = update(shape, dtype) if name == "UPDATE" else alone(name, shape, dtype)
        self.times = ONE_ROW[shape]

    def time_calls(self, name, shape, dtype):
        self.run(self.times)


@cache
def feature_major(shape: str, dtype: str):
    """A function that predicts with the rows along the vectors as often as it is told."""
    engine, (model, x, dy) = engine_of(), arrays(shape, dtype)
    job = engine.Program.predicting(model[0]._ops(x.shape[1]), np.dtype(dtype), threads=1).job()
    job.set(params=model.storage.data, grads=model.storage.grad)
    engine.run(job.handle, 0, x, np.empty_like(dy), 0, 1)
    only(job, 1, task("FORWARD_FEATURE_MAJOR"))
    return times_of(job, x, np.empty_like(dy))


class FeatureMajor(Timed):
    """``y = x W + b`` of a narrow layer with the rows along the vectors: one gigaflop of it, as in ``predict``."""

    params = (["100x25x25"], ["float32"])
    param_names = ("rows x inputs x outputs", "dtype")
    covers = ("blocks.linear",)

    def setup(self, shape, dtype):
        pin(1)
        self.run, self.times = feature_major(shape, dtype), SHAPES[shape]

    def time_one_gigaflop(self, shape, dtype):
        self.run(self.times)


@cache
def by_columns(shape: str, dtype: str):
    """A function that predicts a few rows by columns, as one thread that nobody helps."""
    engine, (model, x, dy) = engine_of(), arrays(shape, dtype)
    if not hasattr(engine.Program, "by_columns"):
        raise NotImplementedError("no prediction by columns at this commit")
    job = engine.Program.by_columns(model[0]._ops(x.shape[1]), np.dtype(dtype), threads=1).job()
    job.set(params=model.storage.data)
    y = np.empty_like(dy)
    return lambda: engine.run(job.handle, 0, x, y, 0, 1)


class Columns(Timed):
    """500 predictions of a few rows, by columns."""

    params = (["1x512x512", "8x512x512"], ["float32"])
    param_names = ("rows x inputs x outputs", "dtype")
    covers = ("blocks.linear_columns",)

    def setup(self, shape, dtype):
        pin(1)
        self.run = by_columns(shape, dtype)
        self.run()

    def time_calls(self, shape, dtype):
        for _ in range(500):
            self.run()
