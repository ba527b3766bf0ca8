"""How many threads a run takes, where nobody has said: measured as it goes, since the bits do not depend on it."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Callable, Hashable

from fastmlp.cores import free_cores
from fastmlp.workers import spinning

__all__ = ["Pace", "keep_pace", "pace_of"]

#: The first looks at fewer threads come after so many seconds of training (each since the one before), and take so many, if
#: that were as fast; a shorter run has none. With one other busy process on two cores, a step of 64-256-256-10 at batch 128
#: takes 1700 us on two threads and 840 on one, quiet 450 and 780.
FIRST_LOOKS = (0.004, 0.0003), (0.01, 0.0006), (0.03, 0.002)

#: Later ones take longer. In front of one of shorter steps goes a step that does not count: 10,000 rows of 4-32-16-4 at a time
#: take 0.8 ms on one thread, and 3.0 where their activations lie in two caches. Seconds between two looks that changed nothing:
#: twice as many after each, up to a limit.
LOOK, LEAST_WAIT, MOST_WAIT = 0.003, 1.0, 4.0

#: Seconds until the next look, after a step has become so many times as long as it was at best; and after a first look that has
#: changed the number.
SLOWER, HASTE, FIRST_WAIT = 1.2, 0.1, 0.3

#: A look takes a step at least, and comes after this many, however long they are; sooner where there is a reason.
STEPS_APART, FIRST_STEPS = 20, 8

#: Threads had their cores where each has worked, or spun at a barrier, for so much of the time: 0.96-1.0 on a quiet machine, at
#: most 0.75 beside one busy process. Steps longer than a look are then faster on two threads than on one, and a look is wasted:
#: it takes a step more. A run of 32 steps of 2048-2048-2048 at batch 128, 28 ms each, has lost 6 % to two looks. So these come
#: after so many steps of training, whatever time has passed between two runs, and however long a step has become: runs of 15
#: steps of 784-1024-1024-10, 18 ms each, a second apart, took 1.05 to 1.1 times as long as on two threads. Shorter ones come
#: after so many seconds, where the last look has found one thread to be slower.
FULL, FULL_STEPS, FULL_WAIT = 0.9, 100, 10.0

#: How many cores are free is asked so many times as a run begins, since a thread of the system may just have something to do.
#: Where there is no room for more threads, a look at more comes after so many seconds; soon after there is; if they are not
#: faster then, others that come and go cause no further looks.
ASKED, CROWDED_WAIT, SOON = 3, 8.0, 0.01

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

    `free` tells how many cores there are that nobody else uses, or None where the system doesn't say. A run begins with these:
    beside four busy processes on two cores, the 4 ms until the first look would take two threads 50. It looks at more as soon
    as there is room, and without room rarely, since the others may have a lower priority.
    """

    def __init__(self, most: int, free: Callable[[], int | None] = lambda: None):
        self.levels = sorted({1, max(1, most // 2), max(1, most - 1), most})
        self._free = free
        room = 0
        for _ in range(ASKED if most > 1 else 0):
            room = max(room, most if (found := free()) is None else found)
        self._at = max((i for i, threads in enumerate(self.levels) if threads <= room), default=0)
        self._crowded = self._at < len(self.levels) - 1  # whether there was no room for more, when it was asked last
        self._hopes = True  # whether the last look has found something faster
        self._share, self._least_share = 1.0, FULL  # of the time, that the thread which got least has worked
        self._best: dict[int, float] = {}  # the least seconds of a step, by level, since it was chosen
        self._now: dict[int, float] = {}  # lately
        self._lately = 0.0, 0.0, 0.0  # of this level: seconds, steps and seconds of work; those long ago count less
        self._since = self._trained = 0.0  # seconds since the last look, and those of training among them
        self._looks, self._wait = len(FIRST_LOOKS) if self._crowded else 0, LEAST_WAIT
        self._down = not self._crowded  # where the next look goes
        self._looking: int | None = None
        self._cold = False  # whether the next step wakes threads, or brings the data to other caches: it does not count
        self._left: int | None = None  # the level below, while this one is on trial

    @property
    def looks(self) -> bool:
        """Whether the next call is a look."""
        return self._looking is not None

    def pause(self, seconds: float) -> None:
        """Go on after a while; no call has been noted for what :meth:`next` has said last, perhaps."""
        self._looking, self._since = None, self._since + seconds

    def next(self) -> tuple[int, int | None]:
        """The number of threads for the next call, and how many steps it may take at most."""
        if len(self.levels) == 1 or self._at not in self._now:
            return self.levels[self._at], None
        now = self._now[self._at]
        if self._looking is None:
            left = self._until_look(now)
            if left > 0:
                short = now < TRIAL_CALL and (self._looks == 0 or self._left is not None)
                most = min(left, TRIAL_CALL) if short else left
                return self.levels[self._at], math.ceil(most / now)
            self._looking, self._cold = self._other(), now < LOOK
        return self.levels[self._looking], 1 if self._cold else max(1, int(self._schedule()[1] / now))

    def _schedule(self) -> tuple[float, float]:
        """How long after the one before the next look comes, and how long it takes, in seconds."""
        return FIRST_LOOKS[self._looks] if self._looks < len(FIRST_LOOKS) else (self._wait, LOOK)

    def _until_look(self, now: float) -> float:
        """Seconds until the next look, where a step takes `now`; 0 or less if it is due."""
        threads, other = self.levels[self._at], self.levels[self._other()]
        if other > threads and self._is_crowded(other):
            return max(CROWDED_WAIT, STEPS_APART * now) - self._since
        wait, apart, begins = self._schedule()[0], STEPS_APART, self._looks == 0
        full = other == 1 and self._share > FULL
        if full and now > LOOK:
            return max(wait - self._since, FULL_STEPS * now - self._trained)
        slower = now > SLOWER * self._best[self._at] or (threads > 1 and self._share < self._least_share)
        if slower and begins:
            return 0.0
        if slower or (other > threads and self._crowded and self._hopes):
            wait, apart = min(HASTE if slower else SOON, wait), FIRST_STEPS
        elif full and FASTER * self._now.get(0, 0.0) > now:
            wait = FULL_WAIT
        elif begins and self._share <= FULL:
            apart = FIRST_STEPS
        return max(wait, apart * now) - self._since

    def _is_crowded(self, wanted: int) -> bool:
        """Whether there are fewer cores than that which nobody else uses."""
        free = self._free()
        if free is None or free >= wanted:
            return False  # and `_crowded` stays what it was until the next look, which comes soon where it was True
        self._crowded, self._looks = True, len(FIRST_LOOKS)
        return True

    def _other(self) -> int:
        """The level that a look goes to."""
        below, above = self._at - 1, self._at + 1
        if below < 0 or above >= len(self.levels):
            return above if below < 0 else below
        return below if self._down else above

    def note(self, seconds: float, steps: int, share: float = 1.0) -> None:
        """What the call has taken, and how much of that time the thread which got least had its core."""
        if steps < 1:
            return
        each = seconds / steps
        if self._looking is None:
            self._note_usual(seconds, each, share)
        elif self._cold:
            self._cold = False
        else:
            self._note_look(self._looking, each)

    def _note_usual(self, seconds: float, each: float, share: float) -> None:
        self._since, self._trained = self._since + seconds, self._trained + seconds
        if self._at in self._now:
            kept, (passed, steps, work) = math.exp(-seconds / MEMORY), self._lately
            self._lately = kept * passed + seconds, kept * steps + seconds / each, kept * work + seconds * share
            self._now[self._at], self._share = self._lately[0] / self._lately[1], self._lately[2] / self._lately[0]
        else:
            self._now[self._at] = each  # of a call that has started threads: it does not count
        now = self._now[self._at]
        self._best[self._at] = min(now, self._best.get(self._at, now))
        if self._left is not None:
            if each > SLOWER * self._now[self._left]:
                self._go_to(self._left, self._now[self._left])
                self._since = self._trained = 0.0
                self._wait, self._left = min(MOST_WAIT, 2 * self._wait), None
            elif self._since > TRIAL:
                self._left = None

    def _note_look(self, seen: int, each: float) -> None:
        first = self._looks < len(FIRST_LOOKS)
        self._looking, self._since, self._trained, self._looks = None, 0.0, 0.0, self._looks + 1
        self._hopes = each < FASTER * self._now[self._at]
        if self._hopes:
            self._left = self._at if seen > self._at else None
            self._go_to(seen, each)
            if first:
                self._looks, self._wait = len(FIRST_LOOKS), FIRST_WAIT
        else:
            self._down = not self._down  # else it goes on that way
            self._wait = LEAST_WAIT if first else min(MOST_WAIT, 2 * self._wait)
            self._best[self._at] = self._now[self._at]
            self._least_share = min(FULL, self._share / SLOWER)
        self._now[seen], self._crowded = each, False

    def _go_to(self, level: int, each: float) -> None:
        """Have another number of threads, whose steps take so long."""
        self._at, self._best, self._lately = level, {level: each}, (0.0, 0.0, 0.0)
        self._share, self._least_share = 1.0, FULL


def pace_of(most: int, work: Hashable) -> Pace:
    """That of the last run of the same work, if it has just been and no other run has it, else a new one."""
    now = time.monotonic()
    with LOCK:
        for key in [key for key, (when, _) in KEPT.items() if now - when > KEPT_SECONDS]:
            del KEPT[key]
        when, found = KEPT.pop((most, work), (now, None))
    if found is None:
        return Pace(most, lambda: free_cores(1 + spinning()))
    found.pause(now - when)
    return found


def keep_pace(pace: Pace, work: Hashable) -> None:
    """Leave it to the next run of the same work."""
    with LOCK:
        KEPT[pace.levels[-1], work] = time.monotonic(), pace
