"""Train the same networks with fastmlp, PyTorch, JAX and scikit-learn, side by side in one process.

Everybody starts from the same parameters and sees the same batches; their parameters after an epoch must agree before
anything is timed. Then they take turns, round after round; the median of the rounds counts. Prints Markdown.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))

from peers.machine import cores, fma_peak, processor_name
from peers.with_fastmlp import FastmlpEager, FastmlpFit
from peers.workloads import WORKLOADS, Problem

#: Seconds between two contenders. The idle threads of OpenBLAS and OpenMP spin for tens of milliseconds after their work, and
#: would take a core from whoever comes next.
PAUSE = 0.1

PEERS = ("torch", "jax", "scikit-learn")


def contenders(problem: Problem, peers: list[str]) -> list:
    """Everybody who is installed and asked for, fastmlp first."""
    found: list = [FastmlpFit(problem), FastmlpEager(problem)]
    if "torch" in peers:
        from peers.with_torch import Torch

        found += [Torch(problem, threads) for threads in sorted({1, cores()})]
    if "jax" in peers:
        from peers.with_jax import Jax

        found.append(Jax(problem))
    if "scikit-learn" in peers:
        from peers.with_sklearn import ScikitLearn

        found.append(ScikitLearn(problem))
    return found


def check_agreement(problem: Problem, everybody: list) -> None:
    """Train one epoch each, and refuse to go on where the parameters differ."""
    expected = None
    for contender in everybody:
        contender.reset()
        contender.epochs(1)
        weights = contender.weights()
        if weights is None:
            continue
        expected = expected or [weight.copy() for weight in weights]
        for ours, theirs in zip(expected, weights):
            if not np.allclose(ours, theirs, rtol=1e-3, atol=1e-4):
                sys.exit(f"{problem.workload.name}: {contender.name} trains something else than fastmlp")


def time_steps(problem: Problem, everybody: list, rounds: int, seconds: float) -> dict[str, float]:
    """Microseconds a step for each contender: the median over interleaved rounds of about `seconds` each."""
    counts = {contender.name: _calibrate(contender.epochs, seconds) for contender in everybody}
    times: dict[str, list[float]] = {contender.name: [] for contender in everybody}
    for _ in range(rounds):
        for contender in everybody:
            contender.reset()
            time.sleep(PAUSE)
            count = counts[contender.name]
            began = time.perf_counter()
            contender.epochs(count)
            times[contender.name].append((time.perf_counter() - began) / count / problem.workload.steps * 1e6)
    return {name: statistics.median(values) for name, values in times.items()}


def _calibrate(run: Callable[[int], None], seconds: float) -> int:
    """How many epochs take about `seconds`."""
    began = time.perf_counter()
    run(1)
    first = time.perf_counter() - began
    count = max(1, int(seconds / first / 2))
    began = time.perf_counter()
    run(count)
    return max(1, round(seconds / ((time.perf_counter() - began) / count)))


def main(arguments: list[str] | None = None) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--workloads", nargs="+", choices=WORKLOADS, default=list(WORKLOADS), metavar="NAME", help=", ".join(WORKLOADS)
    )
    parser.add_argument("--peers", nargs="*", choices=PEERS, help="default: all that are installed")
    parser.add_argument("--rounds", type=int, default=9, help="default: 9")
    parser.add_argument("--seconds", type=float, default=0.1, help="length of a round for each contender; default: 0.1")
    options = parser.parse_args(arguments)
    peers = [peer for peer in PEERS if _installed(peer)] if options.peers is None else options.peers

    one, all_cores = fma_peak(1), fma_peak(cores())
    print(f"{processor_name()}, {cores()} cores; FMA peak {one:.0f} GFLOP/s on one core, {all_cores:.0f} on all")
    versions = ["fastmlp", "numba", "numpy", *peers]
    print(", ".join(f"{name} {importlib.metadata.version(name)}" for name in versions) + "\n")
    print("Microseconds per training step, medians of interleaved rounds; in brackets, how many times fastmlp's.\n")

    header = None
    for name in options.workloads:
        problem = Problem(WORKLOADS[name])
        everybody = contenders(problem, peers)
        check_agreement(problem, everybody)
        times = time_steps(problem, everybody, options.rounds, options.seconds)
        if header is None:
            header = ["workload", "fastmlp", "GFLOP/s", "of the peak", *list(times)[1:]]
            print("| " + " | ".join(header) + " |\n|" + " --- |" * len(header))
        ours = times["fastmlp"]
        rate = problem.workload.flops / ours / 1e3
        row = [name, f"{ours:.3g}", f"{rate:.0f}", f"{rate / all_cores:.0%}"]
        row += [f"{times[peer]:.4g} ({times[peer] / ours:.3g}×)" for peer in list(times)[1:]]
        print("| " + " | ".join(row) + " |", flush=True)


def _installed(peer: str) -> bool:
    try:
        importlib.metadata.version(peer)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


if __name__ == "__main__":
    main()
