"""Several Python threads at one kernel."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

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


def run_together(call: Callable[[int], None], threads: int, call_off: Callable[[], None] = lambda: None) -> None:
    """Call ``call(i)`` for i < `threads`, each on a thread of its own, ``call(0)`` on this one; return when all have.

    `call_off` is called when something goes wrong on a thread (Ctrl-C while the others start, or no memory), so that the others
    need not wait for it. What went wrong is raised here.
    """
    failures: list[BaseException] = []

    def take_part(i: int) -> None:
        try:
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
        call(0)
    except BaseException:
        call_off()
        raise
    finally:
        for helper in started:
            helper.join()
    if failures:
        raise failures[0]
