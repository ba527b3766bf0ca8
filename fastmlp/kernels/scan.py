"""Passes over input that look for what a kernel must not meet."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.jit import inner, kernel

__all__ = ["all_finite", "first_beyond", "first_outside", "row_sum"]


@kernel
def all_finite(values):
    """Whether a flat array holds neither NaN nor infinity."""
    largest = values.dtype.type(np.inf)
    wrong = 0
    for i in range(values.size):
        wrong |= not (abs(values[i]) < largest)
    return wrong == 0


@kernel
def first_outside(labels, classes):
    """The first index whose label is not in 0 .. classes - 1, or -1."""
    for i in range(labels.size):
        if labels[i] < 0 or labels[i] >= classes:
            return i
    return -1


@kernel
def first_beyond(values, low, high, ends):
    """The first index of a flat array whose number is not in low .. high, or with `ends` is neither of the two; or -1."""
    for i in range(values.size):
        x = values[i]
        if not (low <= x <= high) or (ends and x != low and x != high):
            return i
    return -1


@inner
def row_sum(losses):
    """The sum of a batch's losses in float64, in four chains: the same for any number of threads."""
    a = b = c = d = 0.0
    whole = losses.size // 4 * 4
    for n in range(0, whole, 4):
        a += np.float64(losses[n])
        b += np.float64(losses[n + 1])
        c += np.float64(losses[n + 2])
        d += np.float64(losses[n + 3])
    for n in range(whole, losses.size):
        a += np.float64(losses[n])
    return (a + b) + (c + d)
