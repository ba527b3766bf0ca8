"""Times that asv has stored, as what a reader asks for: samples and flops per second, and how much of the peak that is."""

from __future__ import annotations

import itertools
import math
import statistics
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass

from asv.results import Results, iter_results_for_machine
from benchmarks.workloads import PEAK_FLOPS, WORKLOADS

from .paths import HERE, RESULTS

__all__ = ["Throughput", "throughputs"]

EPOCHS, PEAK = "training.Epochs.time_epochs", "peak.FusedMultiplyAdds.time_4_gigaflop"


@dataclass(frozen=True)
class Throughput:
    """What a commit does with a workload, on so many threads."""

    commit: str
    title: str
    workload: str
    threads: int
    samples: float  # per second
    gigaflops: float  # per second
    of_peak: float | None  # of as many cores; None where the peak has not been measured


def values(results: Results, name: str) -> dict[tuple[str, ...], float]:
    """The results of a benchmark by its parameters (as asv writes them, without quotes), where there are any."""
    if name not in results.get_all_result_keys():
        return {}
    params = results.get_result_params(name)
    keys = itertools.product(*([text.strip("'") for text in texts] for texts in params))
    found = zip(keys, results.get_result_value(name, params))
    return {key: value for key, value in found if value is not None and not math.isnan(value)}


def ordered(machine: str) -> list[Results]:
    """The results of a machine, one for each commit of the main line, the oldest first."""
    by_commit = {results.commit_hash: results for results in iter_results_for_machine(str(RESULTS), machine)}
    command = ["git", "rev-list", "--first-parent", "--reverse", "HEAD"]
    line = subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout.split()
    return [by_commit[commit] for commit in line if commit in by_commit]


def throughputs(machine: str) -> Iterator[Throughput]:
    """All that has been measured, by commit, workload and number of threads."""
    history = ordered(machine)
    peaks = peak_rates(history)
    for results in history:
        command = ["git", "log", "-1", "--format=%h%n%s", results.commit_hash]
        commit, title = subprocess.run(command, cwd=HERE, check=True, capture_output=True, text=True).stdout.splitlines()
        for (name, threads), seconds in values(results, EPOCHS).items():
            workload = WORKLOADS[name]
            step = seconds / workload.steps
            rate = workload.flops / step / 1e9
            peak = peaks.get(threads)
            yield Throughput(
                commit, title, name, int(threads), workload.batch / step, rate, None if peak is None else rate / peak
            )


def peak_rates(history: list[Results]) -> dict[str, float]:
    """The machine's GFLOP/s by threads. The loop is the same at every commit, so of all runs the median counts."""
    times: dict[str, list[float]] = {}
    for results in history:
        for (threads,), seconds in values(results, PEAK).items():
            times.setdefault(threads, []).append(seconds)
    return {threads: int(threads) * PEAK_FLOPS / statistics.median(some) / 1e9 for threads, some in times.items()}
