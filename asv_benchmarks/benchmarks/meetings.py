"""Where threads meet within a step."""

from __future__ import annotations

import threading
from functools import cache

import numba
import numpy as np

from .setting import Timed, kernel, pin


@cache
def meeter():
    """A function that lets two threads meet as often as it is told; compiled."""
    barrier = kernel("threads.barrier", "control", "meeting", "threads")
    from fastmlp.kernels.jit import FLAGS
    from fastmlp.kernels.threads import CONTROL_SIZE

    @numba.njit(**FLAGS)
    def meet(control, meetings):
        for meeting in range(1, meetings + 1):
            barrier(control, meeting, 2)

    control = np.zeros(CONTROL_SIZE, np.int64)

    def run(meetings: int) -> None:
        control[:] = 0
        other = threading.Thread(target=meet, args=(control, meetings))
        other.start()
        meet(control, meetings)
        other.join()

    run(1)
    return run


class Barrier(Timed):
    """10,000 meetings of two threads."""

    covers = ("threads.barrier",)

    def setup(self):
        pin(2)
        self.run = meeter()

    def time_10000_meetings(self):
        self.run(10_000)
