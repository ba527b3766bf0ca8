"""The engine by itself; what it computes is compared with the modules in tests/test_promises.py."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, jit, jit_only, make_data, make_net

import fastmlp as fm
from fastmlp.kernels import engine
from fastmlp.modules.lowering import try_lower
from fastmlp.training import compiled
from fastmlp.training.data import Data


@jit
def call_share(size, unit, thread, threads):
    return engine.share(size, unit, thread, threads)


@pytest.mark.parametrize("size", [0, 1, 7, 8, 9, 16, 17, 100])
@pytest.mark.parametrize("threads", [1, 2, 3, 7])
def test_shares_are_whole_units_and_leave_nothing(size, threads):
    covered = []
    for thread in range(threads):
        first, last, pool = call_share(np.int64(size), np.int64(8), thread, threads)
        assert first % 8 == 0
        assert last % 8 == 0 or last == size
        covered += range(first, last)
    assert covered == list(range(pool))
    assert pool % 8 == 0 or pool == size
    assert size - pool <= size / engine.POOL if threads > 1 else pool == size


def job_for(model, X, y, batch_size):
    criterion = fm.CrossEntropyLoss()
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    data = Data(X, y, batch_size, -(-len(X) // batch_size), len(X), False, 0)
    program = try_lower(model, X.shape[1], model.dtype)
    return compiled.CompiledRun(program, model, criterion, optimizer, data, 0, lambda _: 0.1, 1)


def steps_taken(run, steps):
    run._call(steps)
    return int(run.job.run[engine.STEPS_DONE]), bool(run.job.run[engine.NOT_FINITE])


def test_train_steps_takes_as_many_steps_as_asked(dtype):
    X, y = make_data(10, 2, 3, dtype=dtype)
    model, other = make_net([2, 5, 3], dtype=dtype), make_net([2, 5, 3], dtype=dtype)
    run = job_for(model, X, y, 4)
    assert steps_taken(run, 5) == (5, False)  # three are an epoch
    assert run.job.epoch_losses.shape == (2,)
    assert (run.job.epoch_losses > 0).all()
    run = job_for(other, X, y, 4)
    assert steps_taken(run, 2) == (2, False)
    run._count(2, [0.0])
    assert steps_taken(run, 3) == (3, False)
    assert_same_bits(model.storage.data, other.storage.data)


def test_train_steps_stops_before_the_update_at_a_loss_that_is_not_finite(dtype):
    X, y = make_data(12, 2, 3, dtype=dtype)
    X[9] = np.nan  # in the third batch of four rows
    model = make_net([2, 5, 3], dtype=dtype)
    clean = make_net([2, 5, 3], dtype=dtype)
    assert steps_taken(job_for(model, X, y, 4), 3) == (2, True)
    assert steps_taken(job_for(clean, X[:8], y[:8], 4), 2) == (2, False)
    assert_same_bits(model.storage.data, clean.storage.data)


@jit_only
def test_one_compiled_engine_serves_every_network(dtype):
    def compile_count():
        return len(engine.train_steps.signatures)

    def train(widths, loss):
        X, y = make_data(9, widths[0], widths[-1], "mse" if loss is fm.MSELoss else "cross_entropy", dtype=dtype)
        model = make_net(widths, dtype=dtype)
        for options in ({}, {"momentum": 0.9}):
            fm.fit(model, loss(), fm.SGD(model.parameters(), lr=0.1, **options), X, y, epochs=1, threads=2)

    train([2, 3, 2], fm.CrossEntropyLoss)
    before = compile_count()
    train([5, 17, 4, 3], fm.CrossEntropyLoss)
    train([5, 1], fm.MSELoss)
    assert compile_count() == before <= 2
