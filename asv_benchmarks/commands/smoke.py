"""Run every benchmark once, in this process, and see that it measures what it is to measure.

At the commit that is checked out none may be skipped, and nothing may be compiled while the time is taken.
"""

from __future__ import annotations

import itertools
import re
import sys
import time
from collections.abc import Iterator
from typing import ClassVar

from asv_runner.discovery import disc_benchmarks
from numba.core import event

__all__ = ["main"]


class Compilations(event.Listener):
    """What Numba has compiled in this process."""

    names: ClassVar[list[str]] = []

    def on_start(self, event):
        self.names.append(event.data["dispatcher"].__name__)

    def on_end(self, event):
        """Nothing to note."""


def combinations(benchmark) -> Iterator[tuple]:
    """Every combination of a benchmark's parameters, set one after the other."""
    for place, values in enumerate(itertools.product(*benchmark._params)):
        if benchmark._params:
            benchmark.set_param_idx(place)
        yield values


def run_once(benchmark, values: tuple) -> str:
    """What is wrong with a benchmark, after running it once; nothing is an empty string."""
    if benchmark.do_setup():
        return "is skipped: see above"
    compiled = len(Compilations.names)
    began = time.perf_counter()
    if benchmark.type == "time" and not benchmark.func.__name__.startswith("timeraw"):
        benchmark.func(*values)
    else:
        benchmark.repeat = 1
        benchmark.do_run()
    seconds = time.perf_counter() - began
    print(f"{seconds * 1e3:9.1f} ms  {benchmark.name}{values or ''}", flush=True)
    names = Compilations.names[compiled:]
    return f"compiles within its time: {', '.join(names)}" if names else ""


def main(pattern: str = "") -> int:
    """Run the benchmarks whose name holds `pattern`; 1 where something is wrong."""
    event.register("numba:compile", Compilations())
    wrong, count = [], 0
    for benchmark in disc_benchmarks("benchmarks"):
        if re.search(pattern, benchmark.name):
            for values in combinations(benchmark):
                count += 1
                if fault := run_once(benchmark, values):
                    wrong.append(f"{benchmark.name}{values or ''} {fault}")
    print(f"{count} benchmarks, {len(wrong)} wrong", *wrong, sep="\n  ")
    return 1 if wrong or not count else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
