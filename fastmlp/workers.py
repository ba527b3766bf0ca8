"""Threads that stay for the next call: awake for a moment, asleep for some seconds, then gone."""

from __future__ import annotations

import _thread
import atexit
import os
from collections.abc import Callable
from contextlib import suppress
from queue import Empty, SimpleQueue

import numpy as np

from fastmlp.kernels.threads import BOX_GIVEN, BOX_SIZE, BOX_STATE, LOOKING, stand_by

__all__ = ["Worker", "put_back", "spinning", "waiting"]

#: How long they wait: spinning, so many looks of 10-50 ns each, then asleep, so many seconds. Who comes within 0.1 ms of the
#: call before finds them awake; to start a thread takes 100-200 us.
LOOKS, IDLE_SECONDS = 4000, 5.0

#: So many looks has who has been woken by a call that then did without it: as long as the next few of up to 0.2 ms take.
LOOKS_WHEN_WOKEN = 40_000

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
        self._patience = LOOKS
        self._work: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._box = np.zeros(BOX_SIZE, np.int64)
        self._words = memoryview(self._box)  # type: ignore[arg-type]
        #: The address of the box, for compiled code that has work for it.
        self.boxes = np.array([self._box.ctypes.data], np.int64)
        stand_by(self._box, 0, 0)  # compiles here: a program that ends meanwhile would wait for a thread that compiles

    def give(self, work: Callable[[], None] | None) -> None:
        """Have it do this next, or leave; it must not be among those that wait."""
        self._work.put(work)
        self._words[BOX_GIVEN] += 1

    def wake(self) -> None:
        """Have it spin for a while, in case that compiled code has work for it."""
        self._patience = LOOKS_WHEN_WOKEN
        if self.ident:
            self.give(_nothing)
        else:
            self.start(_nothing)

    @property
    def looks(self) -> bool:
        """Whether it spins, so that compiled code may post work to it."""
        return self._words[BOX_STATE] == LOOKING

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
            seen = self._words[BOX_GIVEN]
            _idle.append(self)
            looks, self._patience = self._patience, LOOKS
            stand_by(self._box, seen, looks)
            waits = True
            while waits:
                try:
                    work, waits = self._work.get(timeout=IDLE_SECONDS), False
                except Empty:
                    with suppress(ValueError):
                        _idle.remove(self)
                        return  # else somebody has just taken it, and gives it something or puts it back


def _nothing() -> None:
    """Work that is none."""


def put_back(worker: Worker) -> None:
    """Let others have one that has got nothing to do from Python."""
    _idle.append(worker)


def waiting() -> Worker | None:
    """One that waits, for the caller alone; the one that has waited least. None where there is none."""
    try:
        return _idle.pop()
    except IndexError:
        return None


def spinning() -> int:
    """How many of those that wait are awake."""
    return sum(worker.looks for worker in list(_idle))


@atexit.register
def _dismiss() -> None:
    """Have no thread wait any more."""
    _leaving.append(True)
    while (worker := waiting()) is not None:
        worker.give(None)
