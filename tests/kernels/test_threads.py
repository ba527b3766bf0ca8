from __future__ import annotations

import threading
import time
from itertools import pairwise

import numpy as np
import pytest
from helpers import in_threads, jit, small

from fastmlp.kernels.threads import (
    ABORT,
    ARRIVED,
    AWAY,
    BOX_GIVEN,
    BOX_SIZE,
    BOX_STATE,
    CONTROL_SIZE,
    LOOKING,
    TAKEN,
    barrier,
    next_task,
    stand_by,
)

MEETINGS = small(2000, 20)


@jit
def march(control, places, thread, threads, meetings):
    """Whether nobody was ever ahead or behind: each thread writes how far it is, and looks at the others after the barrier."""
    for meeting in range(1, meetings + 1):
        places[thread * 16] = meeting
        if not barrier(control, np.int64(2 * meeting - 1), threads):
            return False
        for other in range(threads):
            if places[other * 16] != meeting:
                return False
        if not barrier(control, np.int64(2 * meeting), threads):
            return False
    return True


def together(threads, meetings):
    control, places = np.zeros(CONTROL_SIZE, np.int64), np.zeros(16 * threads, np.int64)
    march(np.zeros(CONTROL_SIZE, np.int64), places.copy(), 0, 1, 1)  # compiled before the others wait for it
    results = [None] * threads

    def work(thread):
        results[thread] = march(control, places, thread, threads, meetings)

    in_threads(work, threads)
    return results, control


@pytest.mark.parametrize("threads", [1, 2, 3, 8])
def test_barrier_lets_nobody_ahead(threads):
    results, control = together(threads, MEETINGS if threads <= 3 else MEETINGS // 10)
    assert results == [True] * threads
    if threads > 1:
        assert control[ARRIVED] == 2 * threads * (MEETINGS if threads <= 3 else MEETINGS // 10)


def test_barrier_opens_when_the_run_is_called_off():
    control, places = np.zeros(CONTROL_SIZE, np.int64), np.zeros(32, np.int64)
    march(control.copy(), places.copy(), 0, 1, 1)
    results = []
    waiting = threading.Thread(target=lambda: results.append(march(control, places, 0, 2, 1)))
    waiting.start()
    time.sleep(0.05)
    assert waiting.is_alive(), "it did not wait"
    control[ABORT] = 1
    waiting.join(10)
    assert results == [False]


def test_places_in_control_lie_on_lines_of_their_own():
    places = sorted((ARRIVED, ABORT, TAKEN))
    assert all((other - one) * 8 >= 64 for one, other in pairwise(places))
    assert places[-1] + 8 <= CONTROL_SIZE


@jit
def ask(control, taken, rounds, tasks, threads):
    """How often this thread got each task, over rounds in which nobody waits."""
    before = np.int64(0)
    for _ in range(rounds):
        task = next_task(control, before)
        while task < tasks:
            taken[task] += 1
            task = next_task(control, before)
        before += tasks + threads


def test_each_task_is_taken_once():
    threads, tasks = 3, 7
    control, taken = np.zeros(CONTROL_SIZE, np.int64), np.zeros((threads, tasks), np.int64)
    ask(control.copy(), taken[0].copy(), 1, 1, 1)
    in_threads(lambda thread: ask(control, taken[thread], 1, tasks, threads), threads)
    assert taken.sum(axis=0).tolist() == [1] * tasks
    assert control[TAKEN] == tasks + threads


def test_tasks_of_the_next_round_are_numbered_from_zero():
    control, taken = np.zeros(CONTROL_SIZE, np.int64), np.zeros(5, np.int64)
    ask(control, taken, 4, 5, 1)
    assert taken.tolist() == [4] * 5


def test_stand_by_leaves_after_so_many_looks_or_when_something_is_given():
    box = np.zeros(BOX_SIZE, np.int64)
    stand_by(box, 0, 5)
    assert box[BOX_STATE] == AWAY
    waiting = threading.Thread(target=stand_by, args=(box, 0, 2**40), daemon=True)
    waiting.start()
    deadline = time.perf_counter() + 10
    while box[BOX_STATE] != LOOKING:
        assert time.perf_counter() < deadline
    box[BOX_GIVEN] += 1
    waiting.join(10)
    assert not waiting.is_alive()
    assert box[BOX_STATE] == AWAY
    stand_by(box, 0, 2**40)  # it has been given already
