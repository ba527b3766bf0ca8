"""How everything is measured: how often, on which cores, and with which of a commit's kernels."""

from __future__ import annotations

import importlib
import inspect
import os
import threading
from collections.abc import Callable
from types import SimpleNamespace
from typing import ClassVar

import numpy as np

__all__ = ["DTYPES", "Entry", "Timed", "engine_of", "kernel", "matrix", "pin", "together"]

DTYPES = ["float32", "float64"]

#: Cores of this process when it began, the last one first: the first one serves most of the system's interrupts.
CORES = sorted(os.sched_getaffinity(0), reverse=True) if hasattr(os, "sched_getaffinity") else []


def pin(threads: int) -> None:
    """Keep this thread, and those that it starts, on as many cores; for ``setup``, which runs before every sample."""
    wanted = set(CORES[:threads])
    if CORES and os.sched_getaffinity(0) != wanted:
        if len(wanted) < threads:
            raise NotImplementedError(f"{threads} threads need {threads} cores")
        os.sched_setaffinity(0, wanted)


def together(call: Callable[[], object], threads: int) -> None:
    """Call something on as many threads at once, each on a core of its own.

    Linux starts a thread on the core of the one that made it, and may leave it there for longer than a body takes.
    """

    def on_core(i: int) -> None:
        if CORES:
            os.sched_setaffinity(0, {CORES[i]})
        call()

    helpers = [threading.Thread(target=on_core, args=(i,)) for i in range(1, threads)]
    for helper in helpers:
        helper.start()
    on_core(0)
    for helper in helpers:
        helper.join()


class Timed:
    """How often the body of a benchmark is timed. Four rounds, each a process of its own, a minute or more apart in a full run.

    asv_runner calls ``setup`` before every sample and, where there is one, times single calls (number = 1). So ``setup`` is a
    look-up (``functools.cache``) of what the process has built and compiled, and a body is a loop of literal length that
    takes milliseconds.
    """

    rounds = 4
    number = 1
    repeat = (3, 12, 0.15)  # samples: at least, at most, and the seconds after which it is enough
    repeat_together = (8, 40, 0.5)  # of two threads: both cores are seldom undisturbed at once
    warmup_time = 0.02
    min_run_count = 2

    #: What it times: kernels by module and name, and files of blocks ("blocks.linear"). A test asks that all have someone.
    covers: ClassVar[tuple[str, ...]] = ()


class Entry(Timed):
    """One of a large family: two rounds, so that the whole suite takes less than ten minutes."""

    rounds = 2


#: Where modules of the kernels lie at one commit or another.
FOLDERS = ("", "compiler.", "products.")


def kernel(path: str, *arguments: str):
    """A kernel by module and name, if this commit has it with these arguments; else the benchmark is not for this commit."""
    module, _, name = path.rpartition(".")
    for folder in FOLDERS:
        try:
            found = getattr(importlib.import_module(f"fastmlp.kernels.{folder}{module}"), name)
            break
        except (ImportError, AttributeError):
            continue
    else:
        raise NotImplementedError(f"no {path} at this commit")
    taken = tuple(inspect.signature(getattr(found, "py_func", found)).parameters) if arguments else ()
    if taken != arguments:
        raise NotImplementedError(f"{path} takes {', '.join(taken)} at this commit")
    return found


def engine_of() -> SimpleNamespace:
    """What single blocks are run with, if this commit has blocks; else the benchmark is not for this commit."""
    kernel("block.Block")
    from fastmlp.program import Program

    return SimpleNamespace(Program=Program, run=kernel("engine.run"), zeros=kernel("layout.zeros"))


def matrix(rows: int, width: int, dtype: str, seed: int = 0) -> np.ndarray:
    """Normal random numbers laid out as the package does: rows padded with zeros, beginning on a line."""
    from fastmlp.kernels.layout import row_stride, zeros

    stride = row_stride(width, np.dtype(dtype))
    array = zeros(rows * stride, np.dtype(dtype)).reshape(rows, stride)
    array[:, :width] = np.random.default_rng(seed).standard_normal((rows, width))
    return array
