"""Where threads meet within a step."""

from __future__ import annotations

from functools import cache

import numba
import numpy as np

from .setting import Timed, kernel, pin, together


@cache
def meeter():
    """A function that lets two threads meet as often as it is told; compiled."""
    barrier = kernel("threads.barrier", "control", "meeting", "threads")
    flags = kernel("jit.FLAGS")
    from fastmlp.kernels.threads import CONTROL_SIZE

    @numba.njit(**flags)
    def meet(control, meetings):
        for meeting in range(1, meetings + 1):
            barrier(control, meeting, 2)

    control = np.zeros(CONTROL_SIZE, np.int64)

    def run(meetings: int) -> None:
        control[:] = 0
        together(lambda: meet(control, meetings), 2)

    run(1)
    return run


class Barrier(Timed):
    """100,000 meetings of two threads."""

    covers = ("threads.barrier",)
    repeat = Timed.repeat_together

    def setup(self):
        pin(2)
        self.run = meeter()

    def time_100000_meetings(self):
        self.run(100_000)


class StandBy(Timed):
    """100,000 looks of a thread that waits for the next call, at a box in which nothing is put."""

    covers = ("threads.stand_by",)

    def setup(self):
        pin(1)
        self.stand_by = kernel("threads.stand_by", "box", "seen", "looks")
        self.box = np.zeros(64, np.int64)
        self.stand_by(self.box, 0, 1)

    def time_100000_looks(self):
        self.stand_by(self.box, 0, 100_000)
