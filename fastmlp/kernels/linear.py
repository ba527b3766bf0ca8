"""The three products of a linear layer, ``y = x W + b``. A weight lies as (I, padded O)."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.jit import inner, kernel
from fastmlp.kernels.products.matmul import ADJACENT, SAME, matmul
from fastmlp.kernels.products.transpose import transpose

__all__ = [
    "bias_backward",
    "linear_backward",
    "linear_backward_input",
    "linear_backward_params_accumulate",
    "linear_forward",
    "transpose",
]


@kernel
def linear_forward(y, x, weight, bias, O):
    """``y = x @ weight + bias``: the bias is what the sums start from.

    y (N, padded O) out; x (N, padded I), weight (I, padded O), bias (1, padded O) in. 2 N I O flops.
    """
    matmul(y, bias, SAME, x, x.shape[1], ADJACENT, weight, O, weight.shape[0])


@kernel
def linear_backward(dx, dweight, dbias, weight_t, dy, x, weight, O, has_bias):
    """All three gradients of ``y = x @ weight + bias`` in one call; those of weight and bias are added to.

    dx (N, padded I) out; dweight (I, padded O), dbias (1, padded O) in/out; weight_t (O in whole lines, padded I) scratch;
    dy (N, padded O), x (N, padded I), weight (I, padded O) in. 4 N I O flops.
    """
    zero = np.zeros((1, max(dx.shape[1], dy.shape[1])), dx.dtype)
    transpose(weight_t, weight, zero, 0, weight.shape[0], O)
    linear_backward_input(dx, dy, weight_t, zero, weight.shape[0], O)
    linear_backward_params_accumulate(dweight, dbias, x, dy, np.ones((1, 1), dx.dtype), O, has_bias)


@inner
def linear_backward_input(dx, dy, weight_t, zero, I, O):
    """``dx = dy @ weight.T``, from ``y = x @ weight + bias``.

    dx (N, padded I) out; dy (N, padded O), weight_t (at least O, padded I; the transposed copy), zero (1, padded I; zeros) in.
    2 N I O flops.
    """
    matmul(dx, zero, SAME, dy, dy.shape[1], ADJACENT, weight_t, I, O)


@inner
def linear_backward_params_accumulate(dweight, dbias, x, dy, one, O, has_bias):
    """``dweight += x.T @ dy`` and ``dbias += sum of the rows of dy``, from ``y = x @ weight + bias``.

    dweight (I, padded O), dbias (1, padded O) in/out; x (N, padded I), dy (N, padded O), one (matrix that begins with 1) in.
    2 N I O flops.
    """
    matmul(dweight, dweight, dweight.shape[1], x, ADJACENT, x.shape[1], dy, O, x.shape[0])
    if has_bias:
        bias_backward(dbias, dbias, dy, one, O)


@inner
def bias_backward(dbias, init, dy, one, O):
    """``dbias = init + sum of the rows of dy``: a product with a row of ones, so that the sums stay in registers.

    dbias (1, padded O) out; init (1, padded O), dy (N, padded O), one (matrix that begins with 1) in.
    """
    matmul(dbias, init, SAME, one, SAME, SAME, dy, O, dy.shape[0])
