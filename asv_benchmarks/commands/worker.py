"""One commit's side of a comparison, or of a history: a process that measures what it is told, one line of JSON a request.

``["list"]`` answers every benchmark with its parameters, ``["prepare", name, place]`` whether it can be run here, and
``["turn", name, place]`` what it measures: seconds, bytes or a count. asv_runner finds and runs the benchmarks.
"""

from __future__ import annotations

import itertools
import json
import os
import sys
import time
from functools import cache
from pathlib import Path

from asv_runner.discovery import disc_benchmarks, get_benchmark_from_name

from .paths import BENCHMARKS

__all__ = ["main"]

ONCE = {"number": 1, "repeat": 1, "rounds": 1, "warmup_time": 0, "min_run_count": 1}

#: Seconds of a turn. Its first sample, on caches that the other side has left cold, does not count.
TURN = 0.02


def listed() -> list[dict]:
    """Every benchmark, with the names of its combinations of parameters."""
    found = []
    for benchmark in disc_benchmarks("benchmarks"):
        names = [f"({', '.join(map(str, values))})" if values else "" for values in itertools.product(*benchmark._params)]
        quick = benchmark.type == "time" and not benchmark.func.__name__.startswith("timeraw")
        facts = {"name": benchmark.name, "unit": benchmark.unit, "params": benchmark.params, "version": benchmark.version}
        found.append({**facts, "quick": quick, "combinations": names})
    return found


@cache
def ready(name: str, place: int):
    """A benchmark, set up; None where this commit does not have what it measures."""
    benchmark = get_benchmark_from_name(str(BENCHMARKS), f"{name}-{place}", ONCE)
    return None if benchmark.do_setup() else benchmark


def prepare(name: str, place: int) -> bool:
    """Whether the benchmark can be run; it has been, once."""
    benchmark = ready(name, place)
    if benchmark is not None and benchmark.type == "time" and not benchmark.func.__name__.startswith("timeraw"):
        benchmark.do_run()
    return benchmark is not None


def turn(name: str, place: int) -> float:
    """The fastest of the samples that fit into a turn; of what takes long, one."""
    benchmark = ready(name, place)
    benchmark.do_setup()  # another benchmark may have had other cores
    if benchmark.type != "time":
        return benchmark.do_run()
    if benchmark.func.__name__.startswith("timeraw"):
        return benchmark.do_run()["samples"][0]
    benchmark.do_run()
    samples, began = [], time.perf_counter()
    while not samples or time.perf_counter() - began < TURN:
        samples += benchmark.do_run()["samples"]
    return min(samples)


def main() -> None:
    """Answer requests until there are none."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever is printed is no answer
    import benchmarks  # noqa: F401  (sets the environment, before the package is imported)

    import fastmlp

    if not Path(fastmlp.__file__).is_relative_to(os.environ["PYTHONPATH"]):
        sys.exit(f"measures {fastmlp.__file__}, not {os.environ['PYTHONPATH']}")
    requests = {"list": listed, "prepare": prepare, "turn": turn}
    for line in sys.stdin:
        name, *arguments = json.loads(line)
        try:
            answer = {"answer": requests[name](*arguments)}
        except Exception as failure:  # of a benchmark, at this commit
            answer = {"failure": f"{type(failure).__name__}: {failure}"}
        print(json.dumps(answer), file=answers, flush=True)


if __name__ == "__main__":
    main()
