"""How many threads a run takes, where nobody has said: measured as it goes, since the bits do not depend on it."""

from __future__ import annotations

__all__ = ["Pace"]

#: The first look at fewer threads comes after so many seconds of training; a shorter run has none. With one other busy
#: process on two cores, a step of 64-256-256-10 at batch 128 takes 1700 us on two threads and 840 on one, quiet 450 and 780.
FIRST_LOOK = 0.03

#: A look at another number of threads takes so many seconds, if that were as fast; the first one less.
LOOK, SHORT_LOOK = 0.003, 0.002

#: Seconds between two looks that changed nothing: twice as many after each, up to a limit.
LEAST_WAIT, MOST_WAIT = 1.0, 4.0

#: Seconds, after a step has become so many times as long as it was at best, until the next look.
SLOWER, HASTE = 1.2, 0.1

#: A look takes a step at least, and comes after this many, however long they are.
STEPS_APART = 20

#: Another number of threads is taken where it is faster by this factor.
FASTER = 0.95


class Pace:
    """Seconds of a step on several numbers of threads, and which number comes next.

    The numbers are 1, half of all, one less than all, and all; one core that is busy with something else makes all threads
    wait for the one on it. A run goes on with the fastest one known, and looks now and then at the one above or below.
    """

    def __init__(self, most: int):
        self.levels = sorted({1, max(1, most // 2), max(1, most - 1), most})
        self._at = len(self.levels) - 1
        self._best: dict[int, float] = {}  # the least seconds of a step, by level, since it was chosen
        self._now: dict[int, float] = {}  # the newest
        self._since = 0.0  # seconds since the last look
        self._wait = FIRST_LOOK
        self._down = True  # where the next look goes
        self._looking: int | None = None

    def next(self) -> tuple[int, int | None]:
        """The number of threads for the next call, and how many steps it may take at most."""
        self._looking = None
        if len(self.levels) > 1 and self._at in self._now:
            slower = self._now[self._at] > SLOWER * self._best[self._at]
            wait = min(HASTE, self._wait) if slower else self._wait
            if self._since >= max(wait, STEPS_APART * self._now[self._at]):
                self._looking = self._other()
                seconds = SHORT_LOOK if self._wait < LEAST_WAIT else LOOK
                return self.levels[self._looking], max(1, int(seconds / self._now[self._at]))
        return self.levels[self._at], None

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
            self._since += seconds
            self._now[self._at] = each
            self._best[self._at] = min(each, self._best.get(self._at, each))
            return
        seen, self._since, self._down = self._looking, 0.0, not self._down
        if each < FASTER * self._now[self._at]:
            self._at, self._wait = seen, LEAST_WAIT
            self._best = {seen: each}
        else:
            self._wait = min(MOST_WAIT, max(LEAST_WAIT, 2 * self._wait))
            self._best[self._at] = self._now[self._at]
        self._now[seen] = each
