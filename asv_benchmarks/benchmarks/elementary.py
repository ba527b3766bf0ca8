"""Elementary functions, one by one, in a compiled loop of their own."""

from __future__ import annotations

from functools import cache

import numba
import numpy as np

from . import entries
from .setting import DTYPES, Timed, kernel, pin

#: Of positive numbers.
POSITIVE = ("log", "log1p", "sqrt")


@cache
def passes(function: str, dtype: str):
    """A function that passes over 10,000 numbers, within the second-level cache, as often as it is told; compiled."""
    evaluate = kernel(f"elementary.{function}")
    flags = kernel("jit.FLAGS")

    @numba.njit(**flags)
    def run(y, x, times):
        for _ in range(times):
            for i in range(x.size):
                y[i] = evaluate(x[i])

    x = np.random.default_rng(0).normal(0, 3, 10_000).astype(dtype)
    x = np.abs(x) if function in POSITIVE else x
    y = np.empty_like(x)
    run(y, x, 1)
    return lambda times: run(y, x, times)


class Elementary(Timed):
    """500 times the function of 10,000 numbers."""

    params = (entries.elementary(), DTYPES)
    param_names = ("function", "dtype")
    covers = tuple(f"{'expression' if name == 'sqrt' else 'elementary'}.{name}" for name in entries.elementary())

    def setup(self, function, dtype):
        pin(1)
        self.run = passes(function, dtype)

    def time_500_passes(self, function, dtype):
        self.run(500)
