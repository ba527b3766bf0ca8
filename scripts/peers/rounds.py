"""Contenders take turns, round after round, so that whatever slows the machine for a while slows all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from .setting import Setting

__all__ = ["Contender", "repeated", "take_turns"]


def _nothing() -> None:
    pass


@dataclass(frozen=True)
class Contender:
    """``run(count)`` is timed: what is measured, `count` times. ``prepare()`` goes before each turn, and is not."""

    name: str
    run: Callable[[int], object]
    prepare: Callable[[], object] = _nothing


def repeated(call: Callable[[], object]) -> Callable[[int], None]:
    """What calls `call` as many times as it is told."""

    def run(count: int) -> None:
        for _ in range(count):
            call()

    return run


def take_turns(contenders: Sequence[Contender], setting: Setting) -> dict[str, float]:
    """Microseconds that each contender takes once: the median over the rounds.

    Of contenders with the same name, ways to run one library, the fastest counts.
    """
    counts = [_calibrate(contender, setting.seconds) for contender in contenders]
    times: list[list[float]] = [[] for _ in contenders]
    for _ in range(setting.rounds):
        for contender, count, measured in zip(contenders, counts, times):
            contender.prepare()
            # The idle threads of OpenBLAS, OpenMP and XLA spin for tens of milliseconds after their work, and would take a
            # core from whoever comes next.
            time.sleep(setting.pause)
            measured.append(_timed(contender, count) / count * 1e6)
    best: dict[str, float] = {}
    for contender, measured in zip(contenders, times):
        median = statistics.median(measured)
        best[contender.name] = min(median, best.get(contender.name, median))
    return best


def _calibrate(contender: Contender, seconds: float) -> int:
    """How many times fill a turn of about `seconds`."""
    contender.prepare()
    contender.run(1)  # a compilation may hide in it
    count = 1
    while True:
        # The lesser of two: a compilation may hide in one, as in fastmlp's third prediction.
        passed = min(_timed(contender, count), _timed(contender, count))
        if passed > seconds / 4:
            return max(1, round(count * seconds / passed))
        count *= 4


def _timed(contender: Contender, count: int) -> float:
    began = time.perf_counter()
    contender.run(count)
    return time.perf_counter() - began
