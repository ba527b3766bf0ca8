"""Networks of all kinds for the tests of Predictors, and functions that users would compile."""

from __future__ import annotations

import numba
import numpy as np

import fastmlp as fm
from fastmlp import registry

ROWS = (0, 1, 7, 8, 9)


def every_module(dtype):
    """All there are, between two linear layers and at both ends; and what they come in together."""
    entries = (registry.activations() | registry.layers()).values()
    for kind, case in [(entry, case) for entry in entries for case in entry.cases]:
        first, middle, last = (registry.made(kind, case, width) for width in (3, 5, 2))
        yield fm.Sequential(fm.Linear(3, 5, rng=0), middle, fm.Linear(5, 4, rng=1), dtype=dtype)
        yield fm.Sequential(first, fm.Linear(3, 2, bias=False, rng=2), last, dtype=dtype)
    yield fm.Sequential(fm.Embedding({1: 4}, 3, in_features=3, rng=0), fm.Linear(5, 3, rng=1), dtype=dtype)
    inside = fm.Residual(fm.Linear(6, 9, rng=1), fm.Tanh(), fm.Linear(9, 6, rng=2))
    yield fm.Sequential(fm.Standardize(3), fm.Linear(3, 6, rng=0), inside, fm.ReLU(), fm.Linear(6, 2, rng=3), dtype=dtype)
    twice = fm.Activation(lambda x, a: a * x + fm.math.tanh(x), constants={"a": 0.5})
    yield fm.Sequential(fm.Linear(3, 150, rng=0), twice, fm.Linear(150, 21, rng=1), dtype=dtype)
    yield fm.Linear(3, 70, rng=0, dtype=dtype)


def inputs_for(model, rows, dtype, rng=0):
    """Rows for a network of these; whole numbers where it has categories."""
    x = np.random.default_rng(rng).standard_normal((rows, 3)).astype(dtype)
    if isinstance(next(iter(model.modules()), None), fm.Sequential) and isinstance(model[0], fm.Embedding):
        x[:, 1] = np.arange(rows) % 4
    return x


@numba.njit(nogil=True)
def by_rows(p, x, out):
    """One row after the other."""
    for n in range(len(x)):
        p(x[n], out[n])


@numba.njit
def at_once(p, x, out):
    """All rows in one call; and what comes back."""
    return p(x, out)


@numba.njit(parallel=True)
def in_parallel(p, x, out):
    """As `by_rows`."""
    for n in numba.prange(len(x)):
        p(x[n], out[n])


@numba.njit
def jacobians(p, x, out, jac):
    """One row after the other, the last one together with the one before, where there is one."""
    for n in range(len(x) - 2):
        p.jacobian(x[n], out[n], jac[n])
    p.jacobian(x[-2:], out[-2:], jac[-2:])


@numba.njit
def products(p, x, dy, dx, v, dout):
    """The first row alone, then all others."""
    p.vjp(x[0], dy[0], dx[0])
    p.jvp(x[0], v[0], dout[0])
    p.vjp(x[1:], dy[1:], dx[1:])
    p.jvp(x[1:], v[1:], dout[1:])
