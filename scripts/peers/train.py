"""Section: training, against everybody."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import replace

import numpy as np

from .rounds import Contender, take_turns
from .setting import Setting, note
from .tables import NOTHING, microseconds, times_ours
from .with_fastmlp import FastmlpEager, FastmlpFit
from .workloads import WORKLOADS, Problem

__all__ = ["CAPTION", "TITLE", "check_agreement", "differs", "rows"]

TITLE = "Training"
CAPTION = """\
Microseconds per step (forward, loss, backward, update), float32, batches in order, plain SGD but for tabular-adam; in brackets,
how many times fastmlp's. GFLOP/s are those of fastmlp's products, the peak is that of all cores. Before, all were seen to train
the same parameters (scikit-learn, which makes one output of two classes, to about the same loss; dropout with p = 0)."""

#: How far the change of a parameter array by training may be from fastmlp's, relative to it. Not exact: sums in another order,
#: and once in a while a ReLU that therefore falls on the other side.
TOLERANCE = 0.01


def contenders(problem: Problem, setting: Setting) -> list:
    """Everybody who takes part, fastmlp first."""
    found: list = [FastmlpFit(problem), FastmlpEager(problem)]
    if "torch" in setting.peers:
        from .with_torch import Torch

        found += [Torch(problem, threads) for threads in sorted({1, setting.cores})]
    if "jax" in setting.peers:
        from .with_jax import Jax

        found.append(Jax(problem))
    if "scikit-learn" in setting.peers and problem.workload.plain:
        from .with_sklearn import ScikitLearn

        found.append(ScikitLearn(problem))
    return found


def check_agreement(problem: Problem, everybody: list) -> None:
    """Train two epochs each, and refuse to go on where the parameters or the losses differ."""
    name, begin = problem.workload.name, problem.flat_parameters
    expected = expected_loss = None
    for contender in everybody:
        contender.reset()
        contender.epochs(2)
        weights = contender.weights()
        loss = problem.loss(weights)
        if expected is None:
            expected, expected_loss = [weight.copy() for weight in weights], loss
        same = getattr(contender, "same_network", True)
        if abs(loss - expected_loss) > (1e-4 if same else TOLERANCE) * expected_loss:
            sys.exit(f"compare_peers: {name}: {contender.name} comes to the loss {loss:.6g}, fastmlp to {expected_loss:.6g}")
        if same and differs(begin, expected, weights):
            sys.exit(f"compare_peers: {name}: {contender.name} trains something else than fastmlp")


def differs(begin: list[np.ndarray], expected: list[np.ndarray], weights: list[np.ndarray]) -> bool:
    """Whether training has brought parameters to another place than fastmlp's."""
    return any(
        np.linalg.norm(theirs - ours) > TOLERANCE * np.linalg.norm(ours - start)
        for start, ours, theirs in zip(begin, expected, weights, strict=True)
    )


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    found = []
    for name in setting.workloads:
        note(f"training, {name}")
        workload = WORKLOADS[name]
        problem = Problem(workload)
        everybody = contenders(problem, setting)
        if workload.dropout:  # everybody drops other numbers: with none dropped they agree
            same = Problem(replace(workload, dropout=0.0))
            check_agreement(same, contenders(same, setting))
        else:
            check_agreement(problem, everybody)
        turns = [Contender(contender.name, contender.epochs, contender.reset) for contender in everybody]
        found.append((workload, {name: time / workload.steps for name, time in take_turns(turns, setting).items()}))
    peers = list(max((times for _, times in found), key=len))[1:]  # who takes part anywhere
    yield ["workload", "fastmlp", "GFLOP/s", "of the peak", *peers]
    for workload, times in found:
        ours = times["fastmlp"]
        rate = workload.flops / ours / 1e3
        row = [workload.name, microseconds(ours), f"{rate:.0f}", f"{rate / setting.peak:.0%}"]
        yield row + [times_ours(times[peer], ours) if peer in times else NOTHING for peer in peers]
