"""Several Python threads at one kernel."""

from __future__ import annotations

import contextlib
import ctypes
import os
import threading
from collections.abc import Callable
from functools import cache

from fastmlp import checks

__all__ = ["cores", "run_together", "team_size"]


def cores() -> int:
    """The cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def team_size(wanted: int | None, work: int, work_per_thread: int) -> int:
    """How many threads: as `wanted`, or by default one for each `work_per_thread` flops, at most one a core."""
    if wanted is not None:
        return checks.size(wanted, "threads")
    if work < 2 * work_per_thread:
        return 1
    return min(cores(), work // work_per_thread)


@cache
def _sched_getcpu() -> Callable[[], int]:
    """The C library's function that tells which core the calling thread is on; where it has none, one that knows no core."""
    return getattr(ctypes.CDLL(None), "sched_getcpu", lambda: -1)


def _apart(threads: int) -> Callable[[int], None]:
    """What thread i of a team calls to be on a core of its own, away from that of thread 0, which is the calling thread.

    Left to itself, Linux starts a helper on the core of the thread that made it and takes 15 to 30 ms to move it away, since a
    virtual core that is asleep does not look idle to it: two threads that share a core and wait for each other. With a pause of
    0.1 s before each call of 0.1 s, a step of 64-256-256-10 at batch 128 took 345 to 640 us; now it takes 350 to 375.

    Helpers may go anywhere but to the first one's core, and that one anywhere, so a core that gets busy is left again.
    """
    if threads == 1 or not hasattr(os, "sched_setaffinity"):
        return lambda _: None
    allowed = sorted(os.sched_getaffinity(0))
    here = _sched_getcpu()()
    if threads > len(allowed) or here not in allowed:
        return lambda _: None
    place = allowed.index(here)
    others = [core for core in allowed if core != here]

    def go(i: int) -> None:
        with contextlib.suppress(OSError):  # a core was taken from this process meanwhile
            os.sched_setaffinity(0, {allowed[(place + i) % len(allowed)]})
            os.sched_setaffinity(0, others if i else allowed)

    return go


def run_together(call: Callable[[int], None], threads: int, call_off: Callable[[], None] = lambda: None) -> None:
    """Call ``call(i)`` for i < `threads`, each on a thread of its own, ``call(0)`` on this one; return when all have.

    `call_off` is called when something goes wrong on a thread (Ctrl-C while the others start, or no memory), so that the others
    need not wait for it. What went wrong is raised here.
    """
    failures: list[BaseException] = []
    go_apart = _apart(threads)

    def take_part(i: int) -> None:
        try:
            go_apart(i)
            call(i)
        except BaseException as failure:  # of whatever kind: it is raised again on the thread that called
            failures.append(failure)
            call_off()

    helpers = [threading.Thread(target=take_part, args=(i,), daemon=True) for i in range(1, threads)]
    started = []
    try:
        for helper in helpers:
            helper.start()
            started.append(helper)
        go_apart(0)
        call(0)
    except BaseException:
        call_off()
        raise
    finally:
        for helper in started:
            helper.join()
    if failures:
        raise failures[0]
