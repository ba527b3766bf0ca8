"""A network inside somebody's compiled loop: one row at a time, its derivatives, and a call from Python."""

from __future__ import annotations

from functools import cache
from itertools import pairwise

import numba
import numpy as np

import fastmlp as fm

from .setting import DTYPES, Timed, pin

#: Layers by width, and the activation between them. A step of an ODE, of a policy, of a filter.
NETWORKS = {
    "2-25-25-25-2 relu": fm.ReLU,
    "64-64": fm.ReLU,
    "4-64-64-2 tanh": fm.Tanh,
}
ROWS, TIMES = 128, 150


def predictor_of(network: str, dtype: str):
    """The Predictor of a network, some rows, and room for their outputs; if this commit has Predictors."""
    if not hasattr(fm, "compiled") or not callable(fm.compiled):
        raise NotImplementedError("there are no Predictors at this commit")
    widths, layers = [int(width) for width in network.split(maxsplit=1)[0].split("-")], []
    for width_in, width_out in pairwise(widths):
        layers += [fm.Linear(width_in, width_out, rng=0), NETWORKS[network]()]
    x = np.random.default_rng(0).standard_normal((ROWS, widths[0])).astype(dtype)
    return fm.compiled(fm.Sequential(*layers[:-1], dtype=dtype)), x, np.empty((ROWS, widths[-1]), dtype)


@numba.njit
def rows_one_by_one(p, x, out, times):
    """What a user would write."""
    for _ in range(times):
        for n in range(len(x)):
            p(x[n], out[n])


@numba.njit
def jacobians_one_by_one(p, x, out, jac, times):
    """The same with derivatives."""
    for _ in range(times):
        for n in range(len(x)):
            p.jacobian(x[n], out[n], jac)


@cache
def rows_in_a_loop(network: str, dtype: str):
    """A function that takes all rows through the network, one by one, so many times; called once."""
    p, x, out = predictor_of(network, dtype)
    rows_one_by_one(p, x, out, 1)
    return lambda: rows_one_by_one(p, x, out, TIMES)


@cache
def jacobians_in_a_loop(network: str, dtype: str):
    """The same with Jacobians, a tenth as often."""
    p, x, out = predictor_of(network, dtype)
    jac = np.empty((p.outputs, p.inputs), dtype)
    jacobians_one_by_one(p, x, out, jac, 1)
    return lambda: jacobians_one_by_one(p, x, out, jac, TIMES // 10)


@cache
def row_from_python(network: str, dtype: str):
    """A function that takes one row through the network; called once."""
    p, x, out = predictor_of(network, dtype)
    x, out = x[0].copy(), out[0].copy()
    p(x, out)
    return lambda: p(x, out)


class RowInCompiledCode(Timed):
    """128 rows, one by one, 150 times, in one compiled loop: 19,200 calls of a network."""

    params = (list(NETWORKS), DTYPES)
    param_names = ("network", "dtype")

    def setup(self, network, dtype):
        pin(1)
        self.run = rows_in_a_loop(network, dtype)

    def time_rows(self, network, dtype):
        self.run()


class JacobianInCompiledCode(Timed):
    """128 Jacobians, one by one, 15 times, in one compiled loop."""

    params = (list(NETWORKS), DTYPES)
    param_names = ("network", "dtype")

    def setup(self, network, dtype):
        pin(1)
        self.run = jacobians_in_a_loop(network, dtype)

    def time_jacobians(self, network, dtype):
        self.run()


class PredictorFromPython(Timed):
    """2,000 calls of one row, from Python."""

    params = (list(NETWORKS), DTYPES)
    param_names = ("network", "dtype")
    covers = ("predictor.call_forward",)

    def setup(self, network, dtype):
        pin(1)
        self.call = row_from_python(network, dtype)

    def time_calls(self, network, dtype):
        for _ in range(2000):
            self.call()
