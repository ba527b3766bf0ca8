"""The optimizer's pass over flat memory."""

from __future__ import annotations

from functools import cache

import numpy as np

from .setting import DTYPES, Timed, kernel, pin

#: Learning rate, momentum, 1 - dampening, weight decay, Nesterov: the order that the kernel reads.
HYPER = {"plain": (1e-9, 0, 1, 0, 0), "momentum": (1e-9, 0.9, 1, 1e-4, 0), "nesterov": (1e-9, 0.9, 1, 1e-4, 1)}

#: Parameters. With velocities and gradients they take up a third of the second-level cache at most: four times as many came out
#: a fifth slower in some processes than in others, by where their pages lay.
SIZE = 16_384


@cache
def sgd(kind: str, dtype: str):
    """The kernel and its arguments; called once."""
    run = kernel("updates.sgd_step", "params", "velocity", "grads", "hyper")
    from fastmlp.kernels.layout import zeros

    # Of one block of memory and some lines apart, so that in every process they lie in the same way to each other.
    params, velocity, grads = (part[:SIZE] for part in np.split(zeros(3 * (SIZE + 80), np.dtype(dtype)), 3))
    grads[:] = np.random.default_rng(0).standard_normal(SIZE)
    arguments = params, velocity, grads, np.array(HYPER[kind], dtype)
    run(*arguments)
    return run, arguments


class SGD(Timed):
    """800 steps of 16,384 parameters."""

    params = (list(HYPER), DTYPES)
    param_names = ("kind", "dtype")
    covers = ("updates.sgd_step",)

    def setup(self, kind, dtype):
        pin(1)
        self.run, self.arguments = sgd(kind, dtype)

    def time_800_steps(self, kind, dtype):
        for _ in range(800):
            self.run(*self.arguments)
