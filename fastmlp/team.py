"""Several Python threads at one kernel."""

from __future__ import annotations

import _thread
import ctypes
import os
import sys
from collections.abc import Callable
from functools import cache
from typing import Any

from fastmlp import checks
from fastmlp.cores import cores

__all__ = ["cores", "run_together", "team_size"]


def team_size(wanted: int | None, work: int, work_per_thread: int) -> int:
    """How many threads: as `wanted`, or by default one for each `work_per_thread` flops, at most one a core."""
    if wanted is not None:
        return checks.as_size(wanted, "threads")
    if work < 2 * work_per_thread:
        return 1
    return min(cores(), work // work_per_thread)


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
    if here not in allowed or threads > len(allowed):
        return lambda *_: None
    place = allowed.index(here)
    others = [core for core in allowed if core != here]
    size = allowed[-1] // 64 * 8 + 8  # of a set of cores: whole words

    def go(i: int, helper: int) -> None:
        for chosen in ([allowed[(place + i) % len(allowed)]], others):
            bits = sum(1 << core for core in chosen).to_bytes(size, sys.byteorder)
            library.pthread_setaffinity_np(ctypes.c_ulong(helper), ctypes.c_size_t(size), bits)

    return go


def run_together(
    call: Callable[[int], None], threads: int, call_off: Callable[[], None] = lambda: None, *, all_needed: bool = True
) -> None:
    """Call ``call(i)`` for i < `threads`, each on a thread of its own, ``call(0)`` on this one; return when all have.

    Where not all are needed, since whoever comes first does what there is to do, those that have not begun when ``call(0)``
    returns never will: to wake a core that is asleep can take 0.3 ms.

    `call_off` is called when something goes wrong on a thread (Ctrl-C while the others start, or no memory), so that the others
    need not wait for it. What went wrong is raised here.

    This thread does not wait for the others to start, as ``threading.Thread`` would, 100 us or more for each.
    """
    failures: list[BaseException] = []
    send_apart = _apart(threads)

    def help_out(i: int, placed: _thread.LockType, begun: _thread.LockType, done: _thread.LockType) -> None:
        placed.acquire()
        if not begun.acquire(blocking=False):
            return
        try:
            call(i)
        except BaseException as failure:  # of whatever kind: it is raised again on the thread that called
            failures.append(failure)
            call_off()
        finally:
            done.release()

    under_way = []
    try:
        for i in range(1, threads):
            placed, begun, done = (_thread.allocate_lock() for _ in range(3))
            placed.acquire()
            done.acquire()
            helper = _thread.start_new_thread(help_out, (i, placed, begun, done))
            under_way.append((begun, done))
            try:
                send_apart(i, helper)  # which is there until it has been
            finally:
                placed.release()
        call(0)
    except BaseException:
        call_off()
        raise
    finally:
        for begun, done in under_way:
            if all_needed or not begun.acquire(blocking=False):
                done.acquire()
    if failures:
        raise failures[0]
