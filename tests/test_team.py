from __future__ import annotations

import _thread
import importlib.util
import os
import signal
import sys
import threading
import time
from types import SimpleNamespace

import numpy as np
import pytest
from helpers import run_python

import fastmlp as fm
from fastmlp import cores, team, workers
from fastmlp.team import run_together, team_size


def forget_threads():
    """Have nobody wait; a thread that has just done its work joins those that wait only then, on a busy machine late."""
    time.sleep(0.02)
    workers._idle.clear()


@pytest.fixture(autouse=True)
def nobody_waits():
    """No thread of a call before: each test starts its own."""
    forget_threads()


@pytest.mark.usefixtures("eight_cores")
def test_team_size_follows_the_work():
    assert [team_size(None, work, 100) for work in (0, 99, 199, 200, 350, 10**9)] == [1, 1, 1, 2, 3, 8]


def test_team_size_is_what_was_asked_for():
    assert team_size(3, 0, 100) == 3
    with pytest.raises(ValueError, match="threads must be at least 1; got 0"):
        team_size(0, 10**9, 100)
    with pytest.raises(TypeError, match="threads must be a whole number"):
        team_size(1.5, 10**9, 100)


@pytest.mark.usefixtures("eight_cores")
def test_team_size_is_capped_by_the_cores_there_are(monkeypatch):
    for wanted in (32, 33, 1000, 100_000, 2**62):
        assert team_size(wanted, 0, 100) == 32, wanted
    with pytest.raises(ValueError, match=r"threads must be at most 2\*\*62"):
        team_size(2**62 + 1, 0, 100)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # the default's limit, not that of who says how many
    assert team_size(8, 0, 100) == 8
    assert team_size(None, 10**9, 100) == 1
    monkeypatch.setattr(cores, "_quota", lambda _: 2)
    assert team_size(32, 0, 100) == 8


@pytest.mark.usefixtures("eight_cores")
def test_team_size_is_no_larger_than_the_shares_of_work():
    assert [team_size(None, 10**9, 100, shares) for shares in (0, 1, 3, 9)] == [1, 1, 3, 8]
    assert [team_size(5, 0, 100, shares) for shares in (0, 1, 3, 9)] == [1, 1, 3, 5]


def test_fit_starts_no_more_threads_than_the_cap(monkeypatch):
    sizes, run = [], team._run_team
    monkeypatch.setattr(team, "_run_team", lambda call, threads, *rest: sizes.append(threads) or run(call, threads, *rest))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0}, raising=False)
    trained = {}
    for threads in (1, 100_000, 2**62):
        sizes.clear()
        trained[threads] = train(threads)
        assert max(sizes, default=1) == min(threads, team.MOST_PER_CORE)
    assert trained[100_000] == trained[2**62] == trained[1]


def train(threads):
    """A short fit, and a prediction: their bits."""
    X, y = fm.datasets.make_disc(40, rng=0)
    model = fm.Sequential(fm.Linear(2, 5, rng=0), fm.Tanh(), fm.Linear(5, 2, rng=1))
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=16, rng=0, threads=threads)
    return model.storage.data.tobytes() + model.predict(np.repeat(X, 8, axis=0), threads=threads).tobytes()


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_run_together_calls_each_once_on_threads_of_their_own(threads):
    meeting, seen = threading.Barrier(threads), {}

    def call(i, count):
        seen[i] = threading.get_ident()
        assert count == threads
        meeting.wait(30)

    run_together(call, threads)
    assert sorted(seen) == list(range(threads))
    assert seen[0] == threading.get_ident()
    assert len(set(seen.values())) == threads


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity") or len(os.sched_getaffinity(0)) < 2, reason="needs two cores")
def test_run_together_keeps_helpers_off_the_core_of_the_caller():
    before, allowed = os.sched_getaffinity(0), {}

    def call(i, _):
        allowed[i] = os.sched_getaffinity(0)

    run_together(call, 2)
    assert allowed[0] == os.sched_getaffinity(0) == before
    assert allowed[1] < before
    assert len(allowed[1]) == len(before) - 1


@pytest.mark.skipif(not hasattr(os, "sched_getaffinity"), reason="needs a system with affinities")
def test_run_together_lets_more_threads_than_cores_go_anywhere():
    threads, allowed = len(os.sched_getaffinity(0)) + 1, {}

    def call(i, _):
        allowed[i] = os.sched_getaffinity(0)

    run_together(call, threads)
    assert [allowed[i] for i in range(threads)] == [os.sched_getaffinity(0)] * threads


def test_run_together_does_not_wait_for_helpers_that_are_not_needed_and_have_not_begun(monkeypatch):
    held, calls = [], []
    monkeypatch.setattr(_thread, "start_new_thread", lambda function, arguments: held.append((function, arguments)) or 0)
    monkeypatch.setattr(team, "_apart", lambda _: lambda *_: None)
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.01)
    team.run_together(lambda i, _: calls.append(i), 3, all_needed=False)
    for function, arguments in held:
        function(*arguments)
    assert calls == [0]


def test_run_together_waits_for_helpers_that_have_begun():
    begun, finished = threading.Event(), []

    def call(i, _):
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

    def call(i, _):
        if i == failing:
            raise MemoryError(f"on {i}")
        assert off.wait(30)

    with pytest.raises(MemoryError, match=f"on {failing}"):
        run_together(call, 3, off.set)


def test_run_together_passes_ctrl_c_on():
    off = threading.Event()

    def call(i, _):
        if i == 0:
            raise KeyboardInterrupt
        assert off.wait(30)

    with pytest.raises(KeyboardInterrupt):
        run_together(call, 2, off.set)


def refuse_after(monkeypatch, many, error=RuntimeError):
    """Let the system start so many threads, and no more."""
    real, started = _thread.start_new_thread, []

    def start(*arguments):
        if len(started) == many:
            raise error("can't start new thread")
        started.append(1)
        return real(*arguments)

    monkeypatch.setattr(_thread, "start_new_thread", start)
    return started


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("many", [0, 1, 3])
def test_run_together_makes_do_with_the_threads_there_are(many, error, monkeypatch):
    started = refuse_after(monkeypatch, many, error)
    meeting, seen = threading.Barrier(many + 1), []

    def call(i, count):
        meeting.wait(30)  # all that were announced are there
        seen.append((i, count))

    run_together(call, 6)
    assert sorted(seen) == [(i, many + 1) for i in range(many + 1)]
    started.clear()
    seen.clear()
    forget_threads()
    run_together(call, 6, all_needed=False)
    assert {i for i, _ in seen} == set(range(many + 1))
    assert {count for _, count in seen} == {6}  # at most


def test_fit_and_predict_do_without_a_thread(monkeypatch):
    expected = train(1)
    for many in (0, 1):
        with monkeypatch.context() as patch:
            refuse_after(patch, many)
            assert train(3) == expected


SHUTDOWN = """
import atexit, os, sys
import fastmlp.team as team

class Late:
    def __del__(self, run_together=team.run_together, finalizing=sys.is_finalizing, write=os.write):
        counts = []
        run_together(lambda i, count: counts.append(count), 3)
        write(1, f"late {finalizing()} {counts}".encode())

def at_exit():
    team.run_together(lambda i, count: said.append(count), 3)
    print("at exit", len(said) == said[-1], flush=True)

said = []
atexit.register(at_exit)
late = Late()
"""  # whether a thread can still be had at exit depends on the version


def test_run_together_works_while_the_interpreter_shuts_down():
    assert run_python(SHUTDOWN).splitlines() == ["at exit True", "late True [1]"]


@pytest.mark.parametrize(
    ("name", "asked", "patched"),
    [("gevent.monkey", "is_module_patched", "_thread"), ("eventlet.patcher", "is_monkey_patched", "thread")],
)
def test_run_together_starts_no_green_threads(name, asked, patched, monkeypatch):
    for module, expected in (
        (SimpleNamespace(**{asked: {patched, "threading"}.__contains__}), 1),
        (SimpleNamespace(), 1),  # of a version that cannot be asked
        (SimpleNamespace(**{asked: {"socket", "time"}.__contains__}), 2),
    ):
        monkeypatch.setitem(sys.modules, name, module)
        calls = []
        run_together(lambda i, count: calls.append((i, count)), 2)  # noqa: B023
        assert sorted(calls) == [(i, expected) for i in range(expected)]


PATCHED = """
import sys
{patch}
import numpy as np, fastmlp as fm

def train(threads):
    X, y = fm.datasets.make_disc(40, rng=0)
    model = fm.Sequential(fm.Linear(2, 5, rng=0), fm.Tanh(), fm.Linear(5, 2, rng=1))
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=16, rng=0, threads=threads)
    return model.storage.data.tobytes() + model.predict(np.repeat(X, 8, axis=0), threads=threads).tobytes()

assert train(3) == train(1)
counts = []
fm.team.run_together(lambda i, count: counts.append(count), 3)
print(counts)
"""


@pytest.mark.parametrize("library", ["gevent", "eventlet"])
def test_fit_works_where_a_library_has_patched_threads(library):
    if importlib.util.find_spec(library) is None:
        pytest.skip(f"{library} is not installed")
    patch = {
        "gevent": "from gevent import monkey; monkey.patch_all()",
        "eventlet": "import warnings; warnings.simplefilter('ignore'); import eventlet; eventlet.monkey_patch()",
    }
    assert run_python(PATCHED.format(patch=patch[library]), timeout=120).strip() == "[1]"


@pytest.mark.usefixtures("eight_cores")
def test_run_together_shares_the_cores_between_teams():
    def counted(threads, inside=lambda: None, **options):
        counts = []
        run_together(lambda i, count: counts.append(count) if i else (counts.append(count), inside()), threads, **options)
        assert counts == [len(counts)] * len(counts)
        return counts[0]

    assert counted(8, shared=True) == 8
    seen = {}

    def second():
        seen["beside 6"] = counted(8, shared=True)
        seen["asked for"] = counted(8)
        seen["little work"] = counted(3, shared=True)

    def both():
        run_together(lambda i, _: i or third(), 7)

    def third():
        seen["beside 6 and 7"] = counted(8, shared=True)

    counted(6, lambda: (second(), both()))
    assert seen == {"beside 6": 4, "asked for": 8, "little work": 3, "beside 6 and 7": 2}
    counted(1, lambda: seen.update({"beside 1": counted(8, shared=True)}))
    assert seen["beside 1"] == 7
    assert counted(8, shared=True) == 8  # all have gone
    assert not team._teams


def test_run_together_forgets_a_team_that_failed(monkeypatch):
    def call(i, _):
        raise MemoryError

    for threads in (1, 2):
        with pytest.raises(MemoryError):
            run_together(call, threads)
        assert not team._teams


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_run_together_in_a_child_forked_while_a_team_works():
    begun, goes_on = threading.Event(), threading.Event()
    other = threading.Thread(target=lambda: run_together(lambda *_: begun.set() or goes_on.wait(30), 3))
    other.start()
    assert begun.wait(30)
    child = os.fork()
    if child == 0:
        counts = []
        run_together(lambda _, count: counts.append(count), 3)
        os._exit(0 if counts == [3, 3, 3] and not team._teams else 1)
    goes_on.set()
    other.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(not hasattr(signal, "pthread_kill"), reason="the system sends no signals to threads")
def test_run_together_waits_for_helpers_after_ctrl_c():
    off, finished = threading.Event(), []
    main = threading.get_ident()

    def call(i, _):
        if i:
            time.sleep(0.02)  # call(0) has returned, and its thread waits
            signal.pthread_kill(main, signal.SIGINT)
            assert off.wait(30)
            time.sleep(0.02)
            finished.append(i)

    with pytest.raises(KeyboardInterrupt):
        run_together(call, 2, off.set)
    assert finished == [1]


def test_run_together_starts_none_of_those_that_wait_when_it_is_called_off(monkeypatch):
    """Ctrl-C while the second helper starts: the first has not begun, and ends without having worked."""
    real, calls, started, ended = _thread.start_new_thread, [], [], threading.Event()

    def start(function, arguments):
        started.append(function)
        if len(started) == 2:
            raise KeyboardInterrupt
        return real(lambda *_: (function(*arguments), ended.set()), arguments)

    monkeypatch.setattr(_thread, "start_new_thread", start)
    monkeypatch.setattr(workers, "IDLE_SECONDS", 0.01)
    off = []
    with pytest.raises(KeyboardInterrupt):
        run_together(lambda *arguments: calls.append(arguments), 4, lambda: off.append(1))
    assert ended.wait(30)
    assert (calls, off) == ([], [1])
