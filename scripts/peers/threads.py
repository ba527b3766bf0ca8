"""Section: fastmlp's training on one thread, on two, and on as many as it takes by itself."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

from .rounds import Contender, take_turns
from .setting import Setting, note
from .tables import microseconds
from .with_fastmlp import FastmlpFit
from .workloads import WORKLOADS, Problem

__all__ = ["CAPTION", "TITLE", "rows"]

TITLE = "Threads"
CAPTION = """\
Microseconds per training step of fastmlp on one thread, on two, and with `threads=None`; how many times as fast as one thread
the others are."""


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    yield ["workload", "one", "two", "None", "one / two", "one / None"]
    for name in setting.workloads:
        note(f"threads, {name}")
        problem = Problem(WORKLOADS[name])
        # One network for all: where its parameters happen to lie in memory makes a difference of some per cent.
        fit = FastmlpFit(problem)
        turns = [Contender(str(threads), fit.epochs, partial(_prepare, fit, threads)) for threads in (1, 2, None)]
        one, two, default = (time / problem.workload.steps for time in take_turns(turns, setting.among_ourselves()).values())
        yield [name, *map(microseconds, (one, two, default)), f"{one / two:.2f}×", f"{one / default:.2f}×"]


def _prepare(fit: FastmlpFit, threads: int | None) -> None:
    fit.threads = threads
    fit.reset()
