"""The engine allocates nothing while it trains or predicts: a long call allocates no more than a short one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import LOSSES, jit, jit_only, make_data, make_net

import fastmlp as fm
from fastmlp.kernels import engine
from fastmlp.modules.lowering import try_lower
from fastmlp.program import BLOCK_ROWS
from fastmlp.training import compiled
from fastmlp.training.data import Data

pytestmark = jit_only  # as plain Python, views are made all the time


@pytest.fixture
def allocations():
    """A function that counts what a call allocates by Numba's memory manager."""
    from numba.core.runtime import _nrt_python, rtsys

    def count(call):
        before = rtsys.get_allocation_stats().alloc
        call()
        return rtsys.get_allocation_stats().alloc - before

    _nrt_python.memsys_enable_stats()
    yield count
    _nrt_python.memsys_disable_stats()


def test_allocations_in_a_loop_are_counted(allocations):
    @jit
    def allocating(n):
        for i in range(n):
            np.empty(10 + i)[0] = 1.0

    allocating(0)
    assert allocations(lambda: allocating(20)) - allocations(lambda: allocating(5)) == 15


@pytest.mark.parametrize("loss", ["cross_entropy", "mse"])
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize("options", [{}, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}], ids=["plain", "nesterov"])
def test_train_steps_does_not_allocate(allocations, dtype, loss, threads, options):
    """Whole epochs, so that shuffles and a smaller last batch are among the steps."""
    rows, batch = 2 * BLOCK_ROWS + 37, BLOCK_ROWS + 9
    X, y = make_data(rows, 5, 3, loss, dtype=dtype)
    model = make_net([5, 67, 17, 3], "sigmoid", dtype=dtype)
    data = Data(X, y, batch, 3, rows, True, 0)
    optimizer = fm.SGD(model.parameters(), lr=0.01, **options)
    program = try_lower(model, 5, model.dtype)
    run = compiled.CompiledRun(program, model, LOSSES[loss](), optimizer, data, 0, lambda _: 0.01, threads)
    run._call(1)
    assert allocations(lambda: run._call(300)) == allocations(lambda: run._call(3))
    assert run.job.run[engine.STEPS_DONE] == 3


def test_predict_does_not_allocate(allocations, dtype):
    model = make_net([3, 17, 2], dtype=dtype)
    X, out = np.zeros((100 * BLOCK_ROWS + 5, 3), dtype), np.empty((100 * BLOCK_ROWS + 5, 2), dtype)
    model.predict(X[:1])
    few = allocations(lambda: model.predict(X[:7], out=out[:7], threads=1))
    assert allocations(lambda: model.predict(X, out=out, threads=1)) == few
