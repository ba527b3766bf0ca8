"""The tasks of each layer's block, alone."""

from __future__ import annotations

from functools import cache

import numpy as np

import fastmlp as fm

from . import entries
from .calls import only, task, times_of
from .setting import Entry, engine_of, pin

ROWS, WIDTH = 128, 256

#: Calls of a body: of products, and of what goes over the rows once.
PRODUCTS, PASSES = 100, 1000

#: What has no block, and what has no gradient of parameters that a task of its own forms.
NO_BLOCK = ("Flatten", "Identity")
NO_GRADIENT = (*NO_BLOCK, "AlphaDropout", "BatchNorm1d", "Dropout", "LogSoftmax", "Softmax", "Standardize")


def arrays(entry: str, dtype: str):
    """A layer as a model of its own, an input, and a gradient of the output."""
    model = fm.Sequential(entries.make(entry.replace("'width'", str(WIDTH))), dtype=dtype)
    if len(model[0]._ops(WIDTH)) != 1:
        raise NotImplementedError(f"{entry} has no block")
    x, dy = np.random.default_rng(0).standard_normal((2, ROWS, WIDTH)).astype(dtype)
    return model, x, dy


def without(*names: str) -> list[str]:
    """The layers but for these classes."""
    return [entry for entry in entries.layers() if not entry.startswith(tuple(f"{name}(" for name in names))]


def calls_of(entry: str) -> int:
    """As many calls as take a millisecond or more."""
    return PRODUCTS if entry.startswith("Linear(") else PASSES


@cache
def both_ways(entry: str, dtype: str, *tasks: str):
    """A function that does tasks of eager mode, those of them that the layer has, as often as it is told."""
    engine, (model, x, dy) = engine_of(), arrays(entry, dtype)
    program = engine.Program.both_ways(model[0]._ops(WIDTH), np.dtype(dtype), batch=ROWS)
    job = program.job()
    job.set(params=model.storage.data, grads=model.storage.grad)
    out = np.empty_like(x)
    engine.run(job.handle, 0, x, out, 0, 1)
    engine.run(job.handle, 1, out, dy, 0, 1)
    there = program.ops[1].tasks(program.records[1])
    only(job, 1, *(number for number in map(task, tasks) if number in there))
    op = job.ops[1]  # not in place: what is applied to its own output sinks into subnormal numbers
    if "FORWARD" in tasks and op.y == op.x:
        op.y = op.dx
    if "BACKWARD" in tasks and op.dy == op.dx:
        op.dy = op.y
    return times_of(job, x, out)


@cache
def update(entry: str, dtype: str):
    """A function that forms the gradients and takes steps of plain SGD as often as it is told."""
    engine, (model, x, dy) = engine_of(), arrays(entry, dtype)
    if not list(model.parameters()):
        raise NotImplementedError(f"{entry} has no parameters")
    optimizer = fm.SGD(model.parameters(), lr=1e-9)
    layers, loss = model[0]._ops(WIDTH), fm.MSELoss()._op(WIDTH)
    updates, how = optimizer._updates(), {"batch": ROWS, "threads": 1}
    job = engine.Program.training(layers, loss, updates, lambda _: 0, np.dtype(dtype), **how).job()
    scalars = np.zeros((1, job.run.scalars), dtype)
    optimizer._fill_scalars(scalars, np.array([1]), None)
    job.set(params=model.storage.data, grads=model.storage.grad, state=np.zeros(0, dtype), order=np.arange(ROWS))
    job.set(scalars=np.repeat(scalars, PASSES, axis=0).reshape(-1))
    job.run.params = model.storage.data.size
    engine.run(job.handle, 0, x, dy, 0, 1)
    only(job, 1, task("UPDATE"))
    return times_of(job, x, dy)


class Forward(Entry):
    """``calls_of`` times the output of a layer for 128 rows of 256, in training."""

    params = (without(*NO_BLOCK), ["float32"])
    param_names = ("layer", "dtype")
    covers = (
        "blocks.batch_norm",
        "blocks.dropout",
        "blocks.linear",
        "blocks.norms",
        "blocks.prelu",
        "blocks.scale",
        "blocks.softmax",
        "blocks.standardize",
    )

    def setup(self, entry, dtype):
        pin(1)
        self.run, self.calls = both_ways(entry, dtype, "STATISTICS", "FORWARD"), calls_of(entry)

    def time_calls(self, entry, dtype):
        self.run(self.calls)


class Backward(Entry):
    """``calls_of`` times the gradient by the input of a layer, for 128 rows of 256."""

    params = (without(*NO_BLOCK), ["float32"])
    param_names = ("layer", "dtype")
    covers = Forward.covers

    def setup(self, entry, dtype):
        pin(1)
        self.run, self.calls = both_ways(entry, dtype, "GRADIENT_STATISTICS", "BACKWARD"), calls_of(entry)

    def time_calls(self, entry, dtype):
        self.run(self.calls)


class Update(Entry):
    """``calls_of`` times the gradient of a layer's parameters and a step of plain SGD, for 128 rows of 256."""

    params = (without(*NO_GRADIENT), ["float32"])
    param_names = ("layer", "dtype")
    covers = ("blocks.linear", "blocks.norms", "blocks.prelu", "blocks.scale", "columns.add_products")

    def setup(self, entry, dtype):
        pin(1)
        self.run, self.calls = update(entry, dtype), calls_of(entry)

    def time_calls(self, entry, dtype):
        self.run(self.calls)


@cache
def alone(name: str, dtype: str):
    """A function that looks up vectors of categories, or adds an input to what a module has made of it, as often as told."""
    engine, x = engine_of(), np.random.default_rng(0).standard_normal((ROWS, WIDTH)).astype(dtype)
    if not hasattr(fm, name):
        raise NotImplementedError(f"no {name} at this commit")
    if name == "Embedding":
        module = fm.Embedding({0: 100}, {0: WIDTH - 3}, in_features=4, rng=0)
        x = np.ascontiguousarray(x[:, :4])
        x[:, 0] = np.arange(ROWS) % 100
    else:
        module = fm.Residual(fm.Tanh())
    model = fm.Sequential(module, dtype=dtype)
    ops, y = module._ops(x.shape[1]), np.empty((ROWS, WIDTH), dtype)
    job = engine.Program.both_ways(ops, np.dtype(dtype), batch=ROWS).job()
    job.set(params=model.storage.data, grads=model.storage.grad)
    engine.run(job.handle, 0, x, y, 0, 1)
    only(job, len(ops), task("FORWARD"))
    return times_of(job, x, y)


class Others(Entry):
    """1000 times the vectors of 128 categories, or the sum of a residual connection, for 128 rows of 256."""

    params = (["Embedding", "Residual"], ["float32"])
    param_names = ("layer", "dtype")
    covers = ("blocks.embedding", "blocks.residual")

    def setup(self, name, dtype):
        pin(1)
        self.run = alone(name, dtype)

    def time_1000_calls(self, name, dtype):
        self.run(1000)
