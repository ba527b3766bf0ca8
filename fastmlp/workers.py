"""Threads that stay for the next call: awake for a moment, asleep for some seconds, then gone."""

from __future__ import annotations

import _thread
import atexit
import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

import numpy as np

from fastmlp.kernels.threads import stand_by

__all__ = ["Worker", "waiting"]

#: How long they wait: spinning, so many looks of 10-50 ns each, then asleep, so many seconds. Who comes within 0.1 ms of the
#: call before finds them awake; to start a thread takes 100-200 us.
LOOKS, IDLE_SECONDS = 4000, 5.0

#: Those that wait; who takes one takes it out.
_idle: list[Worker] = []

#: Not empty when the program ends.
_leaving: list[bool] = []

if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_idle.clear)  # the threads of the parent did not come along


class Worker:
    """A thread that does one piece of work after the other, and waits between them for a while."""

    def __init__(self) -> None:
        self.ident = 0
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._given = np.zeros(1, np.int64)  # pieces, so far
        stand_by(self._given, 0, 0)  # compiles here: a program that ends meanwhile would wait for a thread that compiles

    def give(self, work: Callable[[], None] | None) -> None:
        """Have it do this next, or leave; it must not be among those that wait."""
        self._work.put(work)
        self._given[0] += 1

    def start(self, work: Callable[[], None]) -> None:
        """Begin, with this; an error where the system starts no more threads."""
        self._work.put(work)  # what a thread is started with lives as long as it does
        self.ident = _thread.start_new_thread(self._serve, ())

    def _serve(self) -> None:
        work = self._work.get()
        while work is not None:
            work()
            work = None  # it may be the last that knows large arrays
            if _leaving:
                return
            seen = self._given.item()
            _idle.append(self)
            stand_by(self._given, seen, LOOKS)
            try:
                work = self._work.get(timeout=IDLE_SECONDS)
            except Empty:
                with suppress(ValueError):
                    _idle.remove(self)
                    return
                work = self._work.get()  # somebody has just taken it


def waiting() -> Worker | None:
    """One that waits, for the caller alone; the one that has waited least. None where there is none."""
    try:
        return _idle.pop()
    except IndexError:
        return None


@atexit.register
def _dismiss() -> None:
    """Have no thread wait any more."""
    _leaving.append(True)
    while (worker := waiting()) is not None:
        worker.give(None)
