"""Threads that stay for the next call."""

from __future__ import annotations

import threading
import time
import weakref

import numpy as np
from helpers import JIT

from fastmlp import workers
from fastmlp.team import run_together


def wait_for(condition):
    deadline = time.perf_counter() + 20
    while not condition():
        assert time.perf_counter() < deadline
        time.sleep(0.001)


def test_threads_wait_for_the_next_call_and_leave(monkeypatch):
    workers._idle.clear()
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.2)
    names, large = set(), np.zeros(3)
    kept = weakref.ref(large)
    run_together(lambda i, _, large=large: names.add(threading.get_ident()), 2)
    del large
    for pause in (0, 0.01, 0.1):
        time.sleep(pause)
        wait_for(lambda: len(workers._idle) == 1)
        run_together(lambda *_: names.add(threading.get_ident()), 2)
    assert len(names) == 2, "one thread beside this one"
    assert kept() is None, "it keeps nothing of a call before"
    wait_for(lambda: not workers._idle)


def test_spinning_counts_those_that_are_awake(monkeypatch):
    workers._idle.clear()
    monkeypatch.setattr(workers, "LOOKS_WHEN_WOKEN", 20_000_000 if JIT else 500_000)
    run_together(lambda *_: None, 2)
    wait_for(lambda: len(workers._idle) == 1 and not workers.spinning())  # asleep
    worker = workers.waiting()
    worker.wake()
    wait_for(workers.spinning)
    assert workers.spinning() == 1
    wait_for(lambda: not workers.spinning())
