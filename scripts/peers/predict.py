"""Section: prediction, against everybody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .predictor import Predictor
from .rounds import Contender, repeated, take_turns
from .setting import Setting, note
from .tables import NOTHING, microseconds, times_ours
from .with_fastmlp import predictors as fastmlp_predictors
from .workloads import WORKLOADS, Problem

__all__ = ["CAPTION", "TITLE", "check_agreement", "predictors", "rows"]

TITLE = "Prediction"
CAPTION = """\
Microseconds per call from Python, float32, each library from and to its own kind of array; in brackets, how many times
fastmlp's `predict(X)`. Of PyTorch and TorchScript (one row only) on one thread and on all cores, and of onnxruntime on one, on
all, and with the threads that it takes by itself, the fastest. Before, everybody's outputs were seen to be right."""

#: Whose networks predict, and the numbers of rows.
CASES = {"disc-b100": (1, 32, 100_000), "mnist-512": (1, 32, 10_000)}


#: How many rows at either end are compared with the right outputs, which are computed in float64.
CHECKED = 2_000


def predictors(problem: Problem, x: np.ndarray, setting: Setting) -> list[Predictor]:
    """Everybody who takes part, fastmlp first."""
    found = fastmlp_predictors(problem, x)
    if "onnxruntime" in setting.peers:
        from .with_onnxruntime import predictors as onnxruntime_predictors

        found += onnxruntime_predictors(problem, x, sorted({0, 1, setting.cores}))
    if "torch" in setting.peers:
        from .with_torch import predictors as torch_predictors

        found += torch_predictors(problem, x, sorted({1, setting.cores}))
    if "jax" in setting.peers:
        from .with_jax import predictors as jax_predictors

        found += jax_predictors(problem, x)
    if "scikit-learn" in setting.peers:
        from .with_sklearn import predictors as sklearn_predictors

        found += sklearn_predictors(problem, x)
    return found


def check_agreement(problem: Problem, x: np.ndarray, everybody: list[Predictor]) -> None:
    """Refuse to go on where outputs are not the network's, numbers of order 1; of many rows the first and the last are seen."""
    seen = np.unique(np.r_[: min(len(x), CHECKED), max(0, len(x) - CHECKED) : len(x)])
    expected = problem.scores(x[seen])
    for each in everybody:
        each.prepare()
        out = np.asarray(each.predict())
        if len(out) != len(x) or not np.allclose(out[seen], expected, rtol=1e-4, atol=1e-5):
            sys.exit(f"compare_peers: {problem.workload.name}, {len(x)} rows: {each.name} predicts something else")


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    header: list[str] = []
    for name, sizes in CASES.items():
        if name not in setting.workloads:
            continue
        problem = Problem(replace(WORKLOADS[name], rows=max(sizes)))
        network = "-".join(map(str, problem.workload.widths))
        for size in sizes:
            note(f"prediction, {network}, {size:,} row{'s' if size > 1 else ''}")
            x = problem.x[:size]
            everybody = predictors(problem, x, setting)
            check_agreement(problem, x, everybody)
            turns = [Contender(each.name, repeated(each.predict), each.prepare) for each in everybody]
            times = take_turns(turns, replace(setting, seconds=setting.seconds / 2))  # thousands of calls all the same
            if not header:  # the first case, one row, has everybody
                header = ["network", "rows", *times]
                yield header
            ours = times["fastmlp"]
            cells = [times_ours(times[peer], ours) if peer in times else NOTHING for peer in header[3:]]
            yield [network, f"{size:,}", microseconds(ours), *cells]
