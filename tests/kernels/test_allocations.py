"""The engine allocates nothing while it trains or predicts: a long call allocates no more than a short one."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import LOSSES, jit, jit_only, make_data, make_net, run_job

import fastmlp as fm
from fastmlp.program import BLOCK_ROWS, Program

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


def training_job(widths, activation, loss, options, dtype, threads, steps):
    """Whole epochs, so that shuffles and a smaller last batch are among the steps."""
    rows, batch = 2 * BLOCK_ROWS + 37, BLOCK_ROWS + 9
    X, y = make_data(rows, widths[0], widths[-1], loss, dtype=dtype)
    model = make_net(widths, activation, dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.01, **options)
    criterion = LOSSES[loss]()
    layers, width = [], widths[0]
    for module in model:
        layers += module._ops(width)
        width = layers[-1].width_out
    updates = optimizer._updates()
    program = Program.training(layers, criterion._op(widths[-1]), updates, lambda _: 0, dtype, batch=batch, threads=threads)
    job = program.job()
    job.set(
        params=model.storage.data,
        grads=model.storage.grad,
        state=optimizer._state_of(model.storage),
        order=np.arange(rows),
        labels=y if y.ndim == 1 else np.zeros(1, np.int64),
        scalars=np.tile(np.array([-0.01, 0, 0.5, 1, 1][: updates[0].scalars], dtype), steps),
        sums=np.zeros(steps),
    )
    plan = job.run
    plan.rows, plan.batch, plan.batches, plan.shuffle, plan.params = rows, batch, 3, 1, model.storage.data.size
    return job, X, X if y.ndim == 1 else y


@pytest.mark.parametrize("threads", [1, 2])
def test_training_does_not_allocate(allocations, dtype, threads):
    """Networks whose bias is trained apart, whose gradient is formed transposed, with and without momentum."""
    cases = [
        ([5, 67, 17, 3], "sigmoid", "cross_entropy", {}),
        ([16, 33, 2], "relu", "mse", {"momentum": 0.9, "nesterov": True, "weight_decay": 0.01}),
    ]
    for widths, activation, loss, options in cases:
        job, X, y = training_job(widths, activation, loss, options, dtype, threads, 300)

        def take(steps):
            job.run.steps, job.run.steps_done = steps, 0  # noqa: B023
            run_job(job, X, y, threads=threads)  # noqa: B023
            assert job.run.steps_done == steps  # noqa: B023

        take(1)
        assert allocations(lambda: take(300)) == allocations(lambda: take(3))


def test_prediction_does_not_allocate(allocations, dtype):
    for widths in ([3, 17, 2], [40, 64, 33]):
        model = make_net(widths, dtype=dtype)
        rows = 100 * BLOCK_ROWS + 5
        X, out = np.zeros((rows, widths[0]), dtype), np.empty((rows, widths[-1]), dtype)
        model.predict(X[:1])
        few = allocations(lambda: model.predict(X[:7], out=out[:7], threads=1))  # noqa: B023
        assert allocations(lambda: model.predict(X, out=out, threads=1)) == few  # noqa: B023


def test_passes_that_keep_do_not_allocate(allocations, dtype):
    """Modules by hand: no more for many rows than for few."""
    model = make_net([5, 17, 3], dtype=dtype)
    few, many = np.zeros((3, 5), dtype), np.zeros((5 * BLOCK_ROWS, 5), dtype)

    def both_ways(x):
        model.backward(model(x))

    for x in (few, many):
        both_ways(x)
    assert allocations(lambda: both_ways(many)) == allocations(lambda: both_ways(few))
