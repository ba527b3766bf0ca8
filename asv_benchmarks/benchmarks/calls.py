"""Single calls of a program: a task of one op, as often as wanted, in one call of the engine.

The engine takes `times` steps, each of which is the one call, so nothing of Python is in the time, and the block runs as it
does in training: called by its address, on rows or units that lie in a workspace.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from .setting import kernel

__all__ = ["only", "task", "times_of"]


def task(name: str) -> int:
    """The number of a task of ops, if this commit has such tasks; else the benchmark is not for this commit."""
    return kernel(f"op.{name}")


def only(job: Any, op: int, *tasks: int) -> None:
    """Leave nothing of a job but these tasks of one op, each in the phase that it is in, as pass 0."""
    phases = []
    for wanted in tasks:
        p, c = next(
            (p, c) for p in range(len(job.phases)) for c in _calls(job.phases[p]) if tuple(job.calls[c]) == (op, wanted)
        )
        phase = job.phases[p]
        phase.first, phase.last, phase.lane_cost = c, c + 1, 0
        phases.append(p)
    assert phases == list(range(phases[0], phases[0] + len(phases))), "phases that do not lie side by side"
    ends = {"first": phases[0], "loop": phases[0], "step": phases[-1] + 1, "last": phases[-1] + 1}
    job.passes[0] = tuple(ends[name] for name in job.passes.dtype.names)  # an earlier commit's has no step


def _calls(phase: Any) -> list[int]:
    """The calls of a phase, those for narrow layers too."""
    return [*range(phase.first, phase.last), *range(phase.other_first, phase.other_last)]


def times_of(job: Any, x: np.ndarray, y: np.ndarray) -> Callable[[int], None]:
    """A function that goes through pass 0 of a job as often as it is told; called once."""
    run = kernel("engine.run", "table", "number", "x", "y", "thread", "threads")

    def go(times: int) -> None:
        job.run.steps = times
        run(job.handle, 0, x, y, 0, 1)

    job.run.batches = 1  # every step takes the same rows
    job.set(sums=np.zeros(10_001))  # a step is an epoch, and has a place for its loss
    if hasattr(job, "totals"):
        job.set(totals=np.zeros(10_002))  # and for its weight
    go(1)
    return go
