"""Several Python threads at one kernel."""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
from collections.abc import Callable
from contextlib import suppress
from functools import cache, partial
from typing import Any

import numpy as np

from fastmlp import checks
from fastmlp.checks.scalars import LARGEST_COUNT
from fastmlp.cores import cores, hardware_cores
from fastmlp.workers import Worker, put_back, waiting

__all__ = ["can_start_threads", "cores", "cores_lately", "run_beside", "run_together", "team_size", "wake"]

#: More threads than this for each core are never started. Threads that wait for each other on a core they share only lose time,
#: so even 2 are no help; 4 leave room for a wrong count of the cores, and for tests of many threads on a small machine.
MOST_PER_CORE = 4

#: For so many seconds :func:`cores_lately` believes what it has read.
LATELY = 0.02

#: The number of threads of each team at work in this process.
_teams: dict[object, int] = {}

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_teams.clear)  # the teams of the parent did not come along


def team_size(wanted: int | None, work: int, work_per_thread: int, shares: int = LARGEST_COUNT) -> int:
    """How many threads to use, at most.

    Parameters
    ----------
    wanted : int or None
        What the user asked for. Neither ``set_num_threads`` nor the environment limits it, but more than ``MOST_PER_CORE`` (4)
        threads for each core are not started: a number is capped, not refused, since the results do not depend on it, and
        since a script from a large machine should run on a small one. None for the default: one thread for each
        `work_per_thread`, at most :func:`cores`.
    work : int
        All there is to do, in flops.
    work_per_thread : int
        What is worth a thread more, in flops.
    shares : int
        Into how many parts the work can be cut: more threads than parts would find nothing to do.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    TypeError, ValueError
        If `wanted` is not a whole number from 1 to 2**62; by default, if ``FASTMLP_NUM_THREADS`` is nonsense.
    """
    if wanted is not None:
        count = checks.as_size(wanted, "threads")
        if count > MOST_PER_CORE:
            count = min(count, MOST_PER_CORE * hardware_cores())
    elif work < 2 * work_per_thread:
        return 1
    else:
        count = min(cores(), work // work_per_thread)
    return max(1, min(count, shares))


def _fair_share() -> int:
    """The threads that a team may have besides the other teams at work: what they leave, but at least one part in as many."""
    others = list(_teams.values())
    most = cores()
    return max(1, most - sum(others), most // (len(others) + 1))


def can_start_threads() -> bool:
    """Whether a new thread would be one of the operating system's, and run.

    ``monkey.patch_all()`` of gevent, and eventlet's ``monkey_patch()``, put green threads in the place of threads. They take
    turns on one thread of the system: one that spins at a barrier would never let the others come to it. What starts threads of
    the system can be had from gevent, but is no help: Numba's compiler lock is then a green one too. Of three runs of `predict`
    and `fit` on such threads, each with an empty cache, two waited for it for ever and one raised LoopExit (gevent 26.9).
    """
    if sys.is_finalizing():
        return False  # it would wait for the GIL for ever; only from Python 3.12 on is that an error
    gevent, eventlet = sys.modules.get("gevent.monkey"), sys.modules.get("eventlet.patcher")
    try:
        return not (
            (gevent is not None and gevent.is_module_patched("_thread"))
            or (eventlet is not None and eventlet.is_monkey_patched("thread"))
        )
    except Exception:  # of a version that has other names for it
        return False


@cache
def _library() -> Any:
    """The C library where it can tell and choose the core of a thread, else None. Its functions keep the GIL."""
    library = ctypes.PyDLL(None) if hasattr(os, "sched_getaffinity") else None
    return library if hasattr(library, "sched_getcpu") and hasattr(library, "pthread_setaffinity_np") else None


def _apart(threads: int) -> Callable[[int, int], None]:
    """What sends helper i of a team, by its ``threading.get_ident``, to a core of its own, away from the calling thread's.

    Left to itself, Linux starts a helper on the core of the thread that made it and takes 15 to 30 ms to move it away, since a
    virtual core that is asleep does not look idle to it: two threads that share a core and wait for each other. With a pause of
    0.1 s before each call of 0.1 s, a step of 64-256-256-10 at batch 128 took 345 to 640 us; now it takes 350 to 375. A helper
    that is to move itself has to run first, on a core that is busy: 3 ms more.

    Later a helper may go anywhere but to the caller's core, and the caller anywhere, so a core that gets busy is left again.
    """
    library = _library() if threads > 1 else None
    if library is None:
        return lambda *_: None
    allowed, here = sorted(os.sched_getaffinity(0)), library.sched_getcpu()
    size = allowed[-1] // 64 * 8 + 8  # of a set of cores: whole words
    apart = here in allowed and threads <= len(allowed)
    place = allowed.index(here) if apart else 0
    others = [core for core in allowed if core != here] if apart else allowed

    def go(i: int, helper: int) -> None:
        for chosen in ([allowed[(place + i) % len(allowed)]], others) if apart else (others,):
            bits = sum(1 << core for core in chosen).to_bytes(size, sys.byteorder)
            library.pthread_setaffinity_np(ctypes.c_ulong(helper), ctypes.c_size_t(size), bits)

    return go


class _Helper:
    """A part in a call: what the thread that takes it and the thread that called tell each other."""

    __slots__ = ("begun", "done", "finished", "may_begin")

    def __init__(self) -> None:
        self.may_begin, self.begun, self.done = (_thread.allocate_lock() for _ in range(3))
        self.may_begin.acquire()  # until it has been sent to its core
        self.done.acquire()  # until it has returned; `begun` belongs to whoever comes first
        self.finished = False

    def run(self, work: Callable[[], None]) -> None:
        """On the helper's thread: work, unless the thread that called has gone on without it."""
        self.may_begin.acquire()
        if not self.begun.acquire(blocking=False):
            return
        try:
            work()
        finally:
            self.finished = True
            self.done.release()

    def let_go(self) -> bool:
        """Keep it from beginning; False where it has begun."""
        if not self.begun.acquire(blocking=False):
            return False
        with suppress(RuntimeError):  # it has been released before
            self.may_begin.release()
        return True


def run_together(
    call: Callable[[int, int], object],
    threads: int,
    call_off: Callable[[], object] = lambda: None,
    shared: bool = False,
    *,
    all_needed: bool = True,
) -> None:
    """Call ``call(i, count)`` for i < count, each on a thread of its own, ``call(0, count)`` on this one; return when all have.

    Parameters
    ----------
    call : callable
        Takes i and count, the number of threads that take part. It is `threads`, or less: where the system starts no more (a
        container's limit on processes, an interpreter that shuts down), where it has green threads only, or where cores are
        shared; then the work is done with the threads there are.
    threads : int
        How many are wanted, at least 1.
    call_off : callable
        Called when something goes wrong on a thread (Ctrl-C, or no memory), so that the others need not wait for it. What went
        wrong is raised here, when no thread is at work any more.
    shared : bool
        Share the cores with the other teams at work in this process: for a number that nobody has asked for. A run that calls
        again and again so gets fewer threads when another comes, and more when it has gone.
    all_needed : bool
        True for calls that meet at a barrier: no thread begins before their number is known. False where whoever comes first
        does what there is to do: count is then an upper bound, and those that have not begun when ``call(0, count)`` returns
        never will, since to wake a core that is asleep can take 0.3 ms.

    Notes
    -----
    This thread does not wait for the others to start, as ``threading.Thread`` would, 100 us or more for each.
    """
    if shared and threads > 1:
        threads = min(threads, _fair_share())
    team = object()
    try:
        _teams[team] = threads
        if threads == 1:
            call(0, 1)
        else:
            _run_team(call, threads, call_off, all_needed)
    finally:
        _teams.pop(team, None)  # it is gone in a child that was forked meanwhile


_read = [0, 0.0]


def cores_lately(now: float) -> int:
    """:func:`cores`, which takes 3 us, as they were a moment before `now`, which ``time.perf_counter`` has told."""
    if now > _read[1]:
        _read[:] = cores(), now + LATELY
    return int(_read[0])


def run_beside(call: Callable[[np.ndarray], object], most: int) -> bool:
    """Let threads that spin take part in compiled code, without Python: ``call(boxes)``, the addresses of at most `most` boxes.

    Returns False where none spins, or another team is at work, and what `call` returns, else. It has to leave no work behind in
    the boxes (:mod:`fastmlp.kernels.together`).
    """
    helpers: list[Worker] = []
    if _teams:
        return False
    team = object()
    try:
        while len(helpers) < most and (worker := waiting()) is not None:
            helpers.append(worker)
            if not worker.looks:
                put_back(helpers.pop())
                break
        if not helpers:
            return False
        _teams[team] = len(helpers) + 1
        return bool(call(helpers[0].boxes if len(helpers) == 1 else np.concatenate([helper.boxes for helper in helpers])))
    finally:
        _teams.pop(team, None)
        for helper in helpers:
            put_back(helper)


def wake(threads: int) -> None:
    """Have so many threads spin for a moment, beside this one."""
    if not can_start_threads():
        return
    send_apart = _apart(threads + 1)
    for i in range(1, threads + 1):
        worker = waiting() or Worker()
        try:
            worker.wake()
        except (RuntimeError, MemoryError):  # the system starts no more
            return
        send_apart(i, worker.ident)


def _run_team(call: Callable[[int, int], object], threads: int, call_off: Callable[[], object], all_needed: bool) -> None:
    """As :func:`run_together`, on the cores of this team alone."""
    if threads > 1 and not can_start_threads():
        threads = 1
    helpers: list[_Helper] = []
    failures: list[BaseException] = []
    count = threads
    send_apart = _apart(threads)

    def help_out(helper: _Helper, i: int) -> None:
        def work() -> None:
            try:
                call(i, count)
            except BaseException as failure:  # of whatever kind: it is raised again on the thread that called
                failures.append(failure)
                call_off()

        helper.run(work)

    wait_for_all = False
    try:
        for i in range(1, threads):
            helper = _Helper()
            helpers.append(helper)  # before it starts, so that Ctrl-C leaves no helper that waits for ever
            work = partial(help_out, helper, i)
            worker = waiting()
            if worker is None:
                worker = Worker()
                try:
                    worker.start(work)
                except (RuntimeError, MemoryError):
                    helpers.pop()
                    break
                send_apart(i, worker.ident)  # which is there until it has been
            else:
                send_apart(i, worker.ident)
                worker.give(work)
            if not all_needed:
                helper.may_begin.release()
        if all_needed:
            count = len(helpers) + 1
            for helper in helpers:
                helper.may_begin.release()
        call(0, count)
        wait_for_all = all_needed
    except BaseException:
        call_off()
        raise
    finally:
        for helper in helpers:
            if wait_for_all or not helper.let_go():
                _wait_for(helper, failures, call_off)
    if failures:
        raise failures[0]


def _wait_for(helper: _Helper, failures: list[BaseException], call_off: Callable[[], object]) -> None:
    """Until it has returned, also after Ctrl-C: it writes to memory that its caller would go on to use."""
    while not helper.finished:
        try:
            helper.done.acquire()
        except BaseException as failure:  # of a signal's handler
            failures.insert(0, failure)
            call_off()
