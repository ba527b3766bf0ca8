"""Activations and their derivatives, through the kernels that eager mode calls, which copy first."""

from __future__ import annotations

from functools import cache

from .setting import DTYPES, Timed, kernel, matrix, pin

CODES = {"relu": "RELU", "tanh": "TANH", "sigmoid": "SIGMOID"}


@cache
def forward(function: str, dtype: str):
    """The forward kernel and its arguments; called once."""
    run = kernel("activations.activation_forward_copy", "code", "y", "x")
    arguments = (kernel_code(function), matrix(128, 512, dtype), matrix(128, 512, dtype, 1))
    run(*arguments)
    return run, arguments


@cache
def backward(function: str, dtype: str):
    """The backward kernel and its arguments; called once."""
    run = kernel("activations.activation_backward_copy", "code", "dx", "dy", "y")
    arguments = (kernel_code(function), *(matrix(128, 512, dtype, seed) for seed in range(3)))
    run(*arguments)
    return run, arguments


def kernel_code(function: str) -> int:
    """The number that stands for an activation in the kernels."""
    from fastmlp.kernels import activations

    return getattr(activations, CODES[function])


class Forward(Timed):
    """200 times the activation of a matrix of 128 x 512."""

    params = (list(CODES), DTYPES)
    param_names = ("function", "dtype")
    covers = (
        "activations.activation_forward",
        "activations.activation_forward_copy",
        "activations.copy",
        "activations.relu_forward",
        "activations.sigmoid_forward",
        "activations.tanh_forward",
    )

    def setup(self, function, dtype):
        pin(1)
        self.run, self.arguments = forward(function, dtype)

    def time_200_calls(self, function, dtype):
        for _ in range(200):
            self.run(*self.arguments)


class Backward(Timed):
    """200 times the derivative of an activation, on a matrix of 128 x 512."""

    params = (list(CODES), DTYPES)
    param_names = ("function", "dtype")
    covers = (
        "activations.activation_backward",
        "activations.activation_backward_copy",
        "activations.relu_backward",
        "activations.sigmoid_backward",
        "activations.tanh_backward",
    )

    def setup(self, function, dtype):
        pin(1)
        self.run, self.arguments = backward(function, dtype)

    def time_200_calls(self, function, dtype):
        for _ in range(200):
            self.run(*self.arguments)
