"""Activations and their derivatives, in place on a flat array.

In place because an activation runs as a second pass over rows that a product has just left in the cache, and because LLVM
would guard two arrays that turn out to be one with a scalar loop. Derivatives read the forward output ``y``.

Any length; padding keeps its zeros through ``relu`` and ``tanh``. ``sigmoid(0)`` is 1/2, so padding of its *output* is not
zero; nothing reads it: products stop at the logical width, and the deltas of padding are zero.
"""

from __future__ import annotations

from fastmlp.kernels.compiler.jit import inner, kernel
from fastmlp.kernels.elementary import sigmoid, tanh

__all__ = [
    "RELU",
    "SIGMOID",
    "TANH",
    "activation_backward",
    "activation_backward_copy",
    "activation_forward",
    "activation_forward_copy",
    "copy",
    "relu_backward",
    "relu_forward",
    "sigmoid_backward",
    "sigmoid_forward",
    "tanh_backward",
    "tanh_forward",
]

# Operation codes of a program; LINEAR is 0 (engine.py).
RELU, TANH, SIGMOID = 1, 2, 3


@inner
def relu_forward(y):
    """``y = max(x, 0)``; `y` holds x on entry. NaN stays NaN."""
    zero = y.dtype.type(0)
    for i in range(y.size):
        y[i] = zero if y[i] < zero else y[i]


@inner
def relu_backward(dx, y):
    """``dx = dy where y > 0, else 0``; `dx` holds dy on entry."""
    zero = y.dtype.type(0)
    for i in range(y.size):
        dx[i] = dx[i] if y[i] > zero else zero


@inner
def tanh_forward(y):
    """``y = tanh(x)``; `y` holds x on entry."""
    for i in range(y.size):
        y[i] = tanh(y[i])


@inner
def tanh_backward(dx, y):
    """``dx = dy * (1 - y^2)``; `dx` holds dy on entry."""
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dx[i] * (one - y[i] * y[i])


@inner
def sigmoid_forward(y):
    """``y = 1 / (1 + exp(-x))``; `y` holds x on entry."""
    for i in range(y.size):
        y[i] = sigmoid(y[i])


@inner
def sigmoid_backward(dx, y):
    """``dx = dy * y * (1 - y)``; `dx` holds dy on entry."""
    one = y.dtype.type(1)
    for i in range(y.size):
        dx[i] = dx[i] * (y[i] * (one - y[i]))


@inner
def activation_forward(code, y):
    """The activation `code` on a flat array, in place."""
    if code == RELU:
        relu_forward(y)
    elif code == TANH:
        tanh_forward(y)
    elif code == SIGMOID:
        sigmoid_forward(y)


@inner
def activation_backward(code, dx, y):
    """The derivative of the activation `code`: `dx` holds dy on entry."""
    if code == RELU:
        relu_backward(dx, y)
    elif code == TANH:
        tanh_backward(dx, y)
    elif code == SIGMOID:
        sigmoid_backward(dx, y)


@inner
def copy(target, source):
    """Target = source, both flat."""
    for i in range(target.size):
        target[i] = source[i]


@kernel
def activation_forward_copy(code, y, x):
    """The activation `code` of a matrix: y (N, padded W) out, x the same in."""
    flat = y.reshape(-1)
    copy(flat, x.reshape(-1))
    activation_forward(code, flat)


@kernel
def activation_backward_copy(code, dx, dy, y):
    """The derivative of the activation `code`: dx (N, padded W) out; dy, y the same, in."""
    flat = dx.reshape(-1)
    copy(flat, dy.reshape(-1))
    activation_backward(code, flat, y.reshape(-1))
