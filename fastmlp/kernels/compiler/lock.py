"""A lock between processes, on a file: one compiles, the others wait and load what it has compiled.

The system lets go of it when its process ends, however that happens. Whatever goes wrong costs time, never the result:
where a filesystem has no locks, or nothing has moved for a minute, everybody compiles.
"""

from __future__ import annotations

import contextlib
import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

__all__ = ["Lock"]

#: A compilation takes seconds. A process that is stopped, or that lost its lock to a child it had forked, holds longer.
LIMIT_SECONDS = 60.0
POLL_SECONDS = 0.02

if os.name == "nt":
    import msvcrt

    def _try(file: IO) -> bool:
        try:
            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined,unused-ignore]
        except PermissionError:
            return False
        return True

    def _let_go(file: IO) -> None:
        msvcrt.locking(file.fileno(), msvcrt.LK_UNLCK, 1)  # type: ignore[attr-defined,unused-ignore]

else:
    import fcntl

    def _try(file: IO) -> bool:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def _let_go(file: IO) -> None:
        fcntl.flock(file, fcntl.LOCK_UN)  # also for a child that was forked meanwhile; closing would not do that


class Lock:
    """The lock on one file, held by at most one process."""

    def __init__(self, path: Path):
        self._path = path
        self._file: IO | None = None

    def acquire(self, on_wait: Callable[[], None] = lambda: None) -> bool:
        """Wait for the lock, a minute at most, and say whether somebody else held it meanwhile."""
        end = None
        with contextlib.suppress(OSError):  # no such folder, or no locks here
            self._file = self._open()
            while not _try(self._file):
                if end is None:
                    end = time.monotonic() + LIMIT_SECONDS
                    on_wait()
                elif time.monotonic() > end:
                    break
                time.sleep(POLL_SECONDS)
        return end is not None

    def acquire_now(self) -> bool:
        """Take the lock, if it can be had at once."""
        try:
            self._file = self._open()
            if _try(self._file):
                return True
        except OSError:  # no such folder, or no locks here
            pass
        if self._file is not None:
            self._file.close()
            self._file = None
        return False

    def _open(self) -> IO:
        try:
            return self._path.open("ab")
        except PermissionError:  # another user has made it, in a folder that several write to
            return self._path.open("rb")

    def release(self) -> None:
        """Let go of it, if it was held; the file stays, since somebody may be waiting at it."""
        if self._file is not None:
            with contextlib.suppress(OSError), self._file:
                _let_go(self._file)
            self._file = None
