"""How many threads a run takes, where nobody has said: measured as it goes, since the bits do not depend on it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Hashable

__all__ = ["Pace", "keep_pace", "pace_of"]

#: The first looks at fewer threads come after so many seconds of training (each since the one before), and take so many, if
#: that were as fast; a shorter run has none. With one other busy process on two cores, a step of 64-256-256-10 at batch 128
#: takes 1700 us on two threads and 840 on one, quiet 450 and 780.
FIRST_LOOKS = (0.004, 0.0003), (0.01, 0.0006), (0.03, 0.002)

#: Later ones take longer. Seconds between two that changed nothing: twice as many after each, up to a limit.
LOOK, LEAST_WAIT, MOST_WAIT = 0.003, 1.0, 4.0

#: Seconds until the next look, after a step has become so many times as long as it was at best; and after a first look that has
#: changed the number.
SLOWER, HASTE, FIRST_WAIT = 1.2, 0.1, 0.3

#: A look takes a step at least, and comes after this many, however long they are; the first one of a run sooner.
STEPS_APART, FIRST_STEPS = 20, 8

#: Another number of threads is taken where it is faster by this factor than the mean over about so many seconds: beside a busy
#: process, two threads take steps of 95 us for some milliseconds, and of 800 for the next ones.
FASTER, MEMORY = 0.95, 0.03

#: A larger one is on trial for so many seconds, in calls of so many: a system favours threads that have slept, so beside a busy
#: process two threads are fast for the milliseconds that a look takes, and three times as slow then. So a run begins with short
#: calls, too, and has its first look as soon as steps become longer. Steps that are longer than a short call are long enough to
#: feel what a call costs (compiled.py), and go by the wait.
TRIAL, TRIAL_CALL = 0.02, 0.002

#: A run of the same work that comes within so many seconds goes on with what is known.
KEPT_SECONDS = 2.0

KEPT: dict[Hashable, tuple[float, Pace]] = {}
LOCK = threading.Lock()


class Pace:
    """Seconds of a step on several numbers of threads, and which number comes next.

    The numbers are 1, half of all, one less than all, and all; one core that is busy with something else makes all threads
    wait for the one on it. A run goes on with the fastest one known, and looks now and then at the one above or below.
    """

    def __init__(self, most: int):
        self.levels = sorted({1, max(1, most // 2), max(1, most - 1), most})
        self._at = len(self.levels) - 1
        self._best: dict[int, float] = {}  # the least seconds of a step, by level, since it was chosen
        self._now: dict[int, float] = {}  # lately
        self._lately = 0.0, 0.0  # of this level: seconds and steps, of which those long ago count less
        self._since = 0.0  # seconds since the last look
        self._looks, self._wait = 0, LEAST_WAIT
        self._down = True  # where the next look goes
        self._looking: int | None = None
        self._cold = False  # whether the next step brings the data to other caches: the shortest look leaves it out
        self._left: int | None = None  # the level below, while this one is on trial

    def pause(self, seconds: float) -> None:
        """Go on after a while; no call has been noted for what :meth:`next` has said last, perhaps."""
        self._looking, self._since = None, self._since + seconds

    def next(self) -> tuple[int, int | None]:
        """The number of threads for the next call, and how many steps it may take at most."""
        if len(self.levels) == 1 or self._at not in self._now:
            return self.levels[self._at], None
        now = self._now[self._at]
        wait, seconds = FIRST_LOOKS[self._looks] if self._looks < len(FIRST_LOOKS) else (self._wait, LOOK)
        if self._looking is None:
            slower, begins = now > SLOWER * self._best[self._at], self._looks == 0
            if slower:
                wait = min(HASTE, wait)
            least = (FIRST_STEPS if begins else STEPS_APART) * now
            left = 0.0 if slower and begins else max(wait, least) - self._since
            if left > 0:
                short = now < TRIAL_CALL and (begins or self._left is not None)
                most = min(left, TRIAL_CALL) if short else left
                return self.levels[self._at], math.ceil(most / now)
            self._looking, self._cold = self._other(), self._looks == 0 and now < seconds
        return self.levels[self._looking], 1 if self._cold else max(1, int(seconds / now))

    def _other(self) -> int:
        """The level that a look goes to."""
        below, above = self._at - 1, self._at + 1
        if below < 0 or above >= len(self.levels):
            return above if below < 0 else below
        return below if self._down else above

    def note(self, seconds: float, steps: int) -> None:
        """What the call has taken."""
        if steps < 1:
            return
        each = seconds / steps
        if self._looking is None:
            self._note_usual(seconds, each)
        elif self._cold:
            self._cold = False
        else:
            self._note_look(self._looking, each)

    def _note_usual(self, seconds: float, each: float) -> None:
        self._since += seconds
        if self._at in self._now:
            kept = math.exp(-seconds / MEMORY)
            self._lately = kept * self._lately[0] + seconds, kept * self._lately[1] + seconds / each
            self._now[self._at] = self._lately[0] / self._lately[1]
        else:
            self._now[self._at] = each  # of a call that has started threads: it does not count
        now = self._now[self._at]
        self._best[self._at] = min(now, self._best.get(self._at, now))
        if self._left is not None:
            if each > SLOWER * self._now[self._left]:
                self._go_to(self._left, self._now[self._left])
                self._since, self._wait, self._left = 0.0, min(MOST_WAIT, 2 * self._wait), None
            elif self._since > TRIAL:
                self._left = None

    def _note_look(self, seen: int, each: float) -> None:
        first = self._looks < len(FIRST_LOOKS)
        self._looking, self._since, self._down, self._looks = None, 0.0, not self._down, self._looks + 1
        if each < FASTER * self._now[self._at]:
            self._left = self._at if seen > self._at else None
            self._go_to(seen, each)
            if first:
                self._looks, self._wait = len(FIRST_LOOKS), FIRST_WAIT
        else:
            self._wait = LEAST_WAIT if first else min(MOST_WAIT, 2 * self._wait)
            self._best[self._at] = self._now[self._at]
        self._now[seen] = each

    def _go_to(self, level: int, each: float) -> None:
        """Have another number of threads, whose steps take so long."""
        self._at, self._best, self._lately = level, {level: each}, (0.0, 0.0)


def pace_of(most: int, work: Hashable) -> Pace:
    """That of the last run of the same work, if it has just been and no other run has it, else a new one."""
    now = time.monotonic()
    with LOCK:
        for key in [key for key, (when, _) in KEPT.items() if now - when > KEPT_SECONDS]:
            del KEPT[key]
        when, found = KEPT.pop((most, work), (now, Pace(most)))
    found.pause(now - when)
    return found


def keep_pace(pace: Pace, work: Hashable) -> None:
    """Leave it to the next run of the same work."""
    with LOCK:
        KEPT[pace.levels[-1], work] = time.monotonic(), pace
