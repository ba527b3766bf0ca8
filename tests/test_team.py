from __future__ import annotations

import os
import threading
import time

import pytest

from fastmlp import team
from fastmlp.team import run_together, team_size


@pytest.fixture
def eight_cores(monkeypatch):
    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)


@pytest.mark.usefixtures("eight_cores")
def test_team_size_follows_the_work():
    assert [team_size(None, work, 100) for work in (0, 99, 199, 200, 350, 10**9)] == [1, 1, 1, 2, 3, 8]


def test_team_size_is_what_was_asked_for():
    assert team_size(3, 0, 100) == 3
    with pytest.raises(ValueError, match="threads must be at least 1; got 0"):
        team_size(0, 10**9, 100)
    with pytest.raises(TypeError, match="threads must be a whole number"):
        team_size(1.5, 10**9, 100)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_run_together_calls_each_once_on_threads_of_their_own(threads):
    meeting, seen = threading.Barrier(threads), {}

    def call(i):
        seen[i] = threading.get_ident()
        meeting.wait(30)

    run_together(call, threads)
    assert sorted(seen) == list(range(threads))
    assert seen[0] == threading.get_ident()
    assert len(set(seen.values())) == threads


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_run_together_keeps_helpers_off_the_core_of_the_caller():
    before, allowed = os.sched_getaffinity(0), {}

    def call(i):
        allowed[i] = os.sched_getaffinity(0)

    run_together(call, 2)
    assert allowed[0] == os.sched_getaffinity(0) == before
    assert allowed[1] < before
    assert len(allowed[1]) == len(before) - 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system with affinities")
def test_run_together_lets_more_threads_than_cores_go_anywhere():
    threads, allowed = len(os.sched_getaffinity(0)) + 1, {}

    def call(i):
        allowed[i] = os.sched_getaffinity(0)

    run_together(call, threads)
    assert [allowed[i] for i in range(threads)] == [os.sched_getaffinity(0)] * threads


def test_run_together_does_not_wait_for_helpers_that_are_not_needed_and_have_not_begun(monkeypatch):
    held, calls = [], []
    monkeypatch.setattr(team._thread, "start_new_thread", lambda function, arguments: held.append((function, arguments)) or 0)
    monkeypatch.setattr(team, "_apart", lambda _: lambda *_: None)
    team.run_together(calls.append, 3, all_needed=False)
    for function, arguments in held:
        function(*arguments)
    assert calls == [0]


def test_run_together_waits_for_helpers_that_have_begun():
    begun, finished = threading.Event(), []

    def call(i):
        if i == 0:
            assert begun.wait(30)
        else:
            begun.set()
            time.sleep(0.05)
            finished.append(i)

    run_together(call, 2, all_needed=False)
    assert finished == [1]


@pytest.mark.parametrize("failing", [0, 2])
def test_run_together_passes_errors_on_and_calls_the_others_off(failing):
    off = threading.Event()

    def call(i):
        if i == failing:
            raise MemoryError(f"on {i}")
        assert off.wait(30)

    with pytest.raises(MemoryError, match=f"on {failing}"):
        run_together(call, 3, off.set)


def test_run_together_passes_ctrl_c_on():
    off = threading.Event()

    def call(i):
        if i == 0:
            raise KeyboardInterrupt
        assert off.wait(30)

    with pytest.raises(KeyboardInterrupt):
        run_together(call, 2, off.set)
