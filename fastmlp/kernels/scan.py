"""Passes over input that look for what a kernel must not meet."""

from __future__ import annotations

import numpy as np

from fastmlp.kernels.compiler.jit import kernel

__all__ = ["all_finite", "first_outside"]


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
