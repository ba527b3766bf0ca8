"""Ctrl-C and SIGTERM, kept out of the few lines that must be done whole."""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable
from types import FrameType, TracebackType
from typing import Any

__all__ = ["calling_off", "interrupts_held", "interrupts_watched", "let_call_off"]

#: SIGTERM too, where the program has a handler for it; without one it ends the process at once.
SIGNALS = (signal.SIGINT, signal.SIGTERM)


class _Watch:
    """The handlers of the main thread, while it trains: they pass on to the program's own, or hold back."""

    def __init__(self) -> None:
        self.handlers: dict[int, Callable[[int, FrameType | None], Any]] = {}
        self.users = self.holders = 0
        self.came: list[tuple[int, FrameType | None]] = []

    def heard(self, number: int, frame: FrameType | None) -> None:
        """The handler of each signal. A second one is not held."""
        handler = self.handlers.get(number)
        if handler is None:  # training is over, and a handler of the program has brought this one back
            raise KeyboardInterrupt if number == signal.SIGINT else SystemExit(128 + number)
        if not self.holders or self.came:
            handler(number, frame)
        else:
            self.came.append((number, frame))

    def begin(self) -> None:
        if not self.users:
            self.handlers = {int(number): handler for number in SIGNALS if callable(handler := signal.getsignal(number))}
            for number in self.handlers:
                signal.signal(number, self.heard)
        self.users += 1

    def end(self) -> None:
        self.users -= 1
        if not self.users:
            handlers, self.handlers = self.handlers, {}
            for number, handler in handlers.items():
                if signal.getsignal(number) == self.heard:  # else the program has set another one meanwhile
                    signal.signal(number, handler)


WATCH = _Watch()


class interrupts_watched:  # noqa: N801 (a context manager, as those that are functions)
    """Have :class:`interrupts_held` cost a microsecond within the block: handlers are set once for all of it."""

    def __enter__(self) -> None:
        self.here = threading.current_thread() is threading.main_thread()
        if self.here:
            WATCH.begin()

    def __exit__(self, kind: Any, value: Any, traceback: TracebackType | None) -> None:
        if self.here:
            WATCH.end()


class interrupts_held:  # noqa: N801
    """Hold Ctrl-C back until the block is done; then it is as if it came at that moment. A second one is not held.

    An update and the count of it belong together: an exception between the two would leave a model that is one step ahead of
    its history. Signals reach the main thread alone, so elsewhere there is nothing to hold.
    """

    def __init__(self) -> None:
        self.here = threading.current_thread() is threading.main_thread()

    def __enter__(self) -> None:
        if self.here:
            WATCH.holders += 1
            WATCH.begin()

    def __exit__(self, kind: Any, value: Any, traceback: TracebackType | None) -> None:
        if not self.here:
            return
        WATCH.holders -= 1
        came = []
        if not WATCH.holders:
            came, WATCH.came = WATCH.came, []
        handlers = WATCH.handlers
        WATCH.end()
        if came and kind is None:
            number, frame = came[0]
            handlers[number](number, frame)


_here = threading.local()


def let_call_off(event: threading.Event | None) -> None:
    """Have trainings on this thread end at their next step where the event is set: signals do not reach it."""
    _here.event = event


def calling_off() -> threading.Event | None:
    """The event, where there is one."""
    return getattr(_here, "event", None)
