"""The products of a linear layer, through the two kernels that eager mode calls.

The loop over calls is Python's: about 0.6 us a call, a tenth of the smallest shape.
"""

from __future__ import annotations

from functools import cache

import numpy as np

from .setting import DTYPES, Timed, kernel, matrix, pin

#: Rows x inputs x outputs, as the workloads have them, and the calls that make one gigaflop forward, two backward.
SHAPES = {"100x25x25": 8000, "128x64x256": 240, "128x784x512": 10, "256x1024x1024": 2}


def sizes(shape: str) -> tuple[int, int, int]:
    """The three numbers of a shape."""
    rows, inputs, outputs = map(int, shape.split("x"))
    return rows, inputs, outputs


@cache
def forward(shape: str, dtype: str):
    """The forward kernel and its arguments; called once."""
    run = kernel("linear.linear_forward", "y", "x", "weight", "bias", "O")
    rows, inputs, outputs = sizes(shape)
    y, x, weight, bias = ((rows, outputs), (rows, inputs), (inputs, outputs), (1, outputs))
    arguments = (*(matrix(*size, dtype) for size in (y, x, weight, bias)), outputs)
    run(*arguments)
    return run, arguments


@cache
def backward(shape: str, dtype: str):
    """The backward kernel and its arguments; called once."""
    run = kernel("linear.linear_backward", "dx", "dweight", "dbias", "weight_t", "dy", "x", "weight", "O", "has_bias")
    from fastmlp.kernels.layout import whole_lines

    rows, inputs, outputs = sizes(shape)
    dx, dweight, dbias = matrix(rows, inputs, dtype), matrix(inputs, outputs, dtype), matrix(1, outputs, dtype)
    weight_t = np.zeros_like(matrix(whole_lines(outputs, np.dtype(dtype)), inputs, dtype))
    dy, x, weight = matrix(rows, outputs, dtype), matrix(rows, inputs, dtype, 1), matrix(inputs, outputs, dtype)
    arguments = (dx, dweight, dbias, weight_t, dy, x, weight, outputs, True)
    run(*arguments)
    return run, arguments


class Forward(Timed):
    """``y = x W + b``: one gigaflop of it."""

    params = (list(SHAPES), DTYPES)
    param_names = ("rows x inputs x outputs", "dtype")
    covers = ("linear.linear_forward", "matmul.matmul", "matmul.matmul_above")

    def setup(self, shape, dtype):
        pin(1)
        (self.run, self.arguments), self.calls = forward(shape, dtype), range(SHAPES[shape])

    def time_one_gigaflop(self, shape, dtype):
        for _ in self.calls:
            self.run(*self.arguments)


class Backward(Timed):
    """The three gradients of ``y = x W + b``: two gigaflops of them."""

    params = (list(SHAPES), DTYPES)
    param_names = ("rows x inputs x outputs", "dtype")
    covers = (
        "linear.linear_backward",
        "linear.linear_backward_input",
        "linear.linear_backward_params_accumulate",
        "linear.bias_backward",
    )

    def setup(self, shape, dtype):
        pin(1)
        (self.run, self.arguments), self.calls = backward(shape, dtype), range(SHAPES[shape])

    def time_two_gigaflops(self, shape, dtype):
        for _ in self.calls:
            self.run(*self.arguments)
