"""One row in a compiled loop takes at most 0.6 of what the engine takes in the same loop; both in turn, on one core."""

from __future__ import annotations

import time

import numba
import numpy as np
import pytest
from helpers import jit_only, make_net, normal

import fastmlp as fm
from fastmlp.kernels.engine import run
from fastmlp.modules.stretch import ROWS

pytestmark = [jit_only, pytest.mark.slow]

CALLS = 1000


@numba.njit
def by_engine(table, x, out, calls):
    for _ in range(calls):
        run(table, 0, x, out, 0, 1)


@numba.njit
def by_predictor(p, x, out, calls):
    for i in range(calls):
        p(x[i % len(x)], out[i % len(x)])


@pytest.mark.parametrize(
    ("widths", "activation"), [([2, 25, 25, 25, 2], "relu"), ([64, 64], "relu"), ([4, 64, 64, 2], "tanh")], ids=str
)
def test_one_row(widths, activation):
    model = make_net(widths, activation)
    x = normal(np.random.default_rng(0), (8, widths[0]), np.float32)
    out, p = np.empty((8, widths[-1]), np.float32), fm.compiled(model)
    model.predict(x[:2])  # of one row it would be the predictor's
    job = model._route_now().last._jobs[1, ROWS][-1]
    engine, predictor = [], []
    for _ in range(200):  # the quickest of each counts
        for seconds, loop, arguments in (
            (engine, by_engine, (job.handle, x[:1], out[:1])),
            (predictor, by_predictor, (p, x, out)),
        ):
            loop(*arguments, 10)
            began = time.perf_counter()
            loop(*arguments, CALLS)
            seconds.append((time.perf_counter() - began) / CALLS * 1e9)
    ratio = min(predictor) / min(engine)
    print(f"\n{widths}, {activation}: engine {min(engine):.0f} ns, predictor {min(predictor):.0f} ns, {ratio:.2f}")
    assert ratio <= 0.6
