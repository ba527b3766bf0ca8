"""Losses and their gradients, called from Python (half a microsecond or more of each call) on outputs of training's shapes.

Gradients are formed in place, here with a scale of one: again and again with 1 / N, they would sink into subnormal numbers.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .setting import DTYPES, Timed, kernel, matrix, pin

SHAPES = ["100x2", "128x10", "1000x100"]  # rows x outputs

#: Calls of a body, for each shape.
CALLS = {
    "cross_entropy_forward": (2000, 1000, 20),
    "cross_entropy_backward": (4000, 4000, 400),
    "mse_forward": (2000, 2000, 40),
    "mse_backward": (4000, 8000, 600),
}


def pieces(shape: str, dtype: str):
    """Losses, saved, outputs, labels; the number of outputs."""
    rows, width = map(int, shape.split("x"))
    labels = np.random.default_rng(0).integers(0, width, rows)
    return np.zeros(rows, dtype), matrix(rows, width, dtype), matrix(rows, width, dtype, 1), labels, width


@cache
def cross_entropy_forward(shape: str, dtype: str):
    """The kernel and its arguments; called once."""
    run = kernel("losses.cross_entropy_forward", "losses", "saved", "logits", "labels", "columns", "O")
    from fastmlp.kernels.losses import LOSS_ROWS, SPARE_ROWS

    losses, saved, logits, labels, width = pieces(shape, dtype)
    arguments = losses, saved, logits, labels, np.zeros((width + SPARE_ROWS, LOSS_ROWS), dtype), width
    run(*arguments)
    return run, arguments


@cache
def cross_entropy_backward(shape: str, dtype: str):
    """The kernel and its arguments; called once."""
    run = kernel("losses.cross_entropy_backward", "dlogits", "labels", "scale")
    _, saved, _, labels, _ = pieces(shape, dtype)
    arguments = saved, labels, np.dtype(dtype).type(1)
    run(*arguments)
    return run, arguments


@cache
def mse_forward(shape: str, dtype: str):
    """The kernel and its arguments; called once."""
    run = kernel("losses.mse_forward", "losses", "saved", "outputs", "targets", "O")
    losses, saved, outputs, _, width = pieces(shape, dtype)
    arguments = losses, saved, outputs, np.zeros_like(outputs), width
    run(*arguments)
    return run, arguments


@cache
def mse_backward(shape: str, dtype: str):
    """The kernel and its arguments; called once."""
    run = kernel("losses.mse_backward", "doutputs", "scale")
    arguments = pieces(shape, dtype)[1], np.dtype(dtype).type(1)
    run(*arguments)
    return run, arguments


KERNELS = {
    "cross_entropy_forward": cross_entropy_forward,
    "cross_entropy_backward": cross_entropy_backward,
    "mse_forward": mse_forward,
    "mse_backward": mse_backward,
}


class Losses(Timed):
    """As many calls of a kernel as ``CALLS`` says."""

    params = (list(KERNELS), SHAPES, DTYPES)
    param_names = ("kernel", "rows x outputs", "dtype")
    covers = tuple(f"losses.{name}" for name in KERNELS)

    def setup(self, name, shape, dtype):
        pin(1)
        (self.run, self.arguments), self.calls = KERNELS[name](shape, dtype), range(CALLS[name][SHAPES.index(shape)])

    def time_calls(self, name, shape, dtype):
        for _ in self.calls:
            self.run(*self.arguments)


@cache
def loss_sum(dtype: str):
    """The kernel and its argument; called once."""
    run, losses = kernel("losses.loss_sum", "losses"), np.ones(10_000, dtype)
    run(losses)
    return run, losses


class Sum(Timed):
    """500 times the sum of 10,000 losses."""

    params = (DTYPES,)
    param_names = ("dtype",)
    covers = ("losses.loss_sum",)

    def setup(self, dtype):
        pin(1)
        self.run, self.losses = loss_sum(dtype)

    def time_500_calls(self, dtype):
        for _ in range(500):
            self.run(self.losses)
