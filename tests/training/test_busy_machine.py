"""Training on a machine that has more to do than it has cores."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest
from helpers import assert_same_bits, flat, jit_only, make_data, make_net

import fastmlp as fm

STEPS = 100


@pytest.fixture
def spinners():
    """Four busy processes for each of two cores, and this process held to the same two."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)[:2]
    os.sched_setaffinity(0, cores)
    spinning = [subprocess.Popen([sys.executable, "-S", "-c", "while True: pass"]) for _ in range(4 * len(cores))]
    time.sleep(0.3)  # until all of them run
    yield spinning
    os.sched_setaffinity(0, before)
    for process in spinning:
        process.kill()
        process.wait()


def train(model, threads):
    X, y = make_data(100, 2, 2)
    optimizer = fm.SGD(model.parameters(), lr=0.01)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=STEPS, batch_size=100, rng=0, threads=threads)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not hold a process to a core")
@jit_only
def test_fit_makes_progress_on_a_busy_machine(spinners):
    """Two threads that meet twice a step share two cores with eight others: each meeting may cost a turn of the scheduler."""
    alone, together = make_net([2, 25, 25, 25, 2], "relu"), make_net([2, 25, 25, 25, 2], "relu")
    train(alone, 1)
    began = time.perf_counter()
    train(together, 2)
    assert time.perf_counter() - began < 10
    assert all(process.poll() is None for process in spinners), "the machine was not busy"
    assert_same_bits(flat(together), flat(alone))
