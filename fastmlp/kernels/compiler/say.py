"""What is said on standard error, which may be missing (pythonw), closed, or anything that somebody has put there."""

from __future__ import annotations

import sys

__all__ = ["is_terminal", "say"]


def say(text: str) -> None:
    """Write a line on standard error, if that is possible; a message never ends a program."""
    stream = sys.stderr
    if stream is None:  # `print` would take standard output
        return
    try:
        print(text, file=stream, flush=True)
    except Exception:  # somebody else's stream raises whatever it likes
        return


def is_terminal() -> bool:
    """Whether a person may be looking at standard error; a stream that cannot tell is no terminal."""
    try:
        return bool(sys.stderr.isatty())
    except Exception:  # None, closed, or without the method
        return False
