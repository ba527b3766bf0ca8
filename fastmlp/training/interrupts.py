"""Ctrl-C and SIGTERM, kept out of the few lines that must be done whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

__all__ = ["interrupts_held"]

#: SIGTERM too, where the program has a handler for it; without one it ends the process at once.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


@contextmanager
def interrupts_held() -> Iterator[None]:
    """Hold Ctrl-C back until the block is done; then it is as if it came at that moment. A second one is not held.

    An update and the count of it belong together: an exception between the two would leave a model that is one step ahead of
    its history. Signals reach the main thread alone, so elsewhere there is nothing to hold.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    handlers = {int(number): handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
    came: list[tuple[int, FrameType | None]] = []

    def hold(number: int, frame: FrameType | None) -> None:
        if came:
            handlers[number](number, frame)
        came.append((number, frame))

    for number in handlers:
        signal.signal(number, hold)
    try:
        yield
    finally:
        for number, handler in handlers.items():
            signal.signal(number, handler)
    if came:
        number, frame = came[0]
        handlers[number](number, frame)
