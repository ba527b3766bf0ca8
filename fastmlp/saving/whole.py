"""Files that are there whole or not at all."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from typing import Any

__all__ = ["write_whole"]

#: Characters of a name that the name of the file beside it begins with: names of 255 bytes are the longest there are.
PREFIX = 40


def write_whole(path: str | os.PathLike[str], pieces: Iterable[Any]) -> None:
    """Write a file beside `path`, have the disk confirm it, and rename it into place.

    Whatever ends that, a full disk or a kill, leaves the file that was there before as it was.

    Parameters
    ----------
    path : str or path
        A file, or a symbolic link to one, whose folder is there.
    pieces : iterable of bytes or arrays
        What to write, one after the other.

    Raises
    ------
    OSError
        Where the file cannot be written; its class and ``errno`` are the system's.
    """
    target = os.path.realpath(os.fspath(path))
    if os.path.exists(target) and not os.path.isfile(target):
        raise OSError(f"cannot save to {os.fspath(path)!r}: it is there and is no file")
    folder, name = os.path.split(target)
    beside = os.path.join(folder, f".{name[:PREFIX]}.{os.urandom(4).hex()}.part")
    made = False
    try:
        with open(beside, "xb") as file:
            made = True
            for piece in pieces:
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        with suppress(FileNotFoundError):
            os.chmod(beside, stat.S_IMODE(os.stat(target).st_mode))
        os.replace(beside, target)
    except BaseException as error:
        if made:
            with suppress(OSError):
                os.unlink(beside)
        if not isinstance(error, OSError):
            raise
        reason = error.strerror or str(error)
        raise OSError(error.errno, f"cannot save to {os.fspath(path)!r}: {reason} (a file there is as it was)") from error
    _confirm_name(folder)


def _confirm_name(folder: str) -> None:
    """Have the disk confirm the new name, where folders can be opened: on Windows they cannot."""
    with suppress(OSError):  # some network file systems cannot do that; the file itself is safe
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
