"""Section: exp and tanh in a compiled loop, against NumPy's."""

from __future__ import annotations

import sys
from collections.abc import Iterator

import numba
import numpy as np

from fastmlp.kernels.compiler.jit import FLAGS
from fastmlp.kernels.elementary import exp, tanh

from .rounds import Contender, repeated, take_turns
from .setting import Setting, note

__all__ = ["CAPTION", "TITLE", "rows"]

TITLE = "Elementary functions"
SIZE = 10_000
CAPTION = f"""\
Billions of elements a second on one core: {SIZE:,} float32 from Python at a time, written to memory that is there already."""


@numba.njit(**FLAGS)
def exp_of(x, out):
    """``out = exp(x)``."""
    for i in range(x.size):
        out[i] = exp(x[i])


@numba.njit(**FLAGS)
def tanh_of(x, out):
    """``out = tanh(x)``."""
    for i in range(x.size):
        out[i] = tanh(x[i])


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    yield ["function", "fastmlp", "NumPy", "times NumPy's"]
    x = np.random.default_rng(0).standard_normal(SIZE, dtype=np.float32)
    out = np.empty_like(x)
    for ours, theirs in ((exp_of, np.exp), (tanh_of, np.tanh)):
        note(f"elementary functions, {theirs.__name__}")
        ours(x, out)
        if not np.allclose(out, theirs(x.astype(np.float64)), rtol=1e-6, atol=0):
            sys.exit(f"compare_peers: {theirs.__name__} is wrong")
        turns = [
            Contender("ours", repeated(lambda: ours(x, out))),  # noqa: B023  (run before the next)
            Contender("theirs", repeated(lambda: theirs(x, out=out))),  # noqa: B023
        ]
        times = take_turns(turns, setting.among_ourselves())
        rates = [SIZE / times[name] / 1e3 for name in ("ours", "theirs")]
        yield [theirs.__name__, *(f"{rate:.2f}" for rate in rates), f"{rates[0] / rates[1]:.2f}×"]
