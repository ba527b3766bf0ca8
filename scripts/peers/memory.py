"""Section: the most memory that a training takes, in a fresh process each."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

from .children import run_child
from .setting import Setting, note
from .start import IMPORTS, TRAINERS
from .workloads import WORKLOADS, Problem

__all__ = ["CAPTION", "TITLE", "rows"]

TITLE = "Memory"
STEPS = 20
WORKLOAD = replace(WORKLOADS["mnist-1024"], rows=STEPS * WORKLOADS["mnist-1024"].batch)
CAPTION = f"Peak memory of a fresh process that trains mnist-1024 for {STEPS} steps on {WORKLOAD.rows:,} rows."


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    yield ["", "MB"]
    problem = Problem(WORKLOAD)
    data = problem.x.nbytes + problem.y.nbytes
    parameters = sum(array.nbytes for array in problem.flat_parameters)
    yield ["the data", _megabytes(data)]
    yield ["the parameters", _megabytes(parameters)]
    yield ["the data, 6 times the parameters and 200 MB", _megabytes(data + 6 * parameters + 200_000_000)]
    if sys.platform == "win32":
        return  # which keeps no such record
    run_child(training("fastmlp"))  # so that the kernels are compiled: the compiler takes memory of its own
    for name in TRAINERS:
        peer = IMPORTS[name][1]
        if peer is None or peer in setting.peers:
            note(f"memory, {name}")
            yield [name, _megabytes(int(run_child(training(name))))]


def training(library: str) -> str:
    """The code of a process that trains, and prints its peak memory in bytes."""
    module, name = TRAINERS[library]
    return (
        f"from peers.{module} import {name}; from peers.memory import WORKLOAD; from peers.workloads import Problem; "
        f"from peers.children import peak_memory; "
        f"it = {name}(Problem(WORKLOAD)); it.reset(); it.epochs(1); print(peak_memory())"
    )


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.0f}"
