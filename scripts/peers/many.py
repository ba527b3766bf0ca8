"""Section: many small networks at the same time."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np

from .rounds import Contender, take_turns
from .setting import Setting, note
from .tables import microseconds, times_ours
from .train import differs
from .with_fastmlp import FastmlpMany, FastmlpOneByOne
from .workloads import WORKLOADS, Problem

__all__ = ["CAPTION", "TITLE", "check_agreement", "rows"]

#: How many.
NETWORKS = 64

#: What they are trained on; where steps of one network fill the cores, there is nothing to gain.
CASES = ("disc-b100", "disc-b10")

TITLE = "Many networks"
CAPTION = f"""\
{NETWORKS} networks that differ in their first values, on the same data: microseconds per step of one network, the whole call
divided by all steps. Of fastmlp `fit_many`, and `fit` for each; of JAX one call of all epochs, each under `vmap`. In brackets,
how many times fit_many's. Before, all were seen to train the same parameters."""


def contenders(problems: list[Problem], setting: Setting) -> list[Any]:
    """Everybody who takes part, fit_many first."""
    found: list[Any] = [FastmlpMany(problems), FastmlpOneByOne(problems)]
    if "jax" in setting.peers:
        from .with_jax import JaxMany

        found.append(JaxMany(problems))
    return found


def check_agreement(problems: list[Problem], everybody: list[Any]) -> None:
    """Train two epochs each, and refuse to go on where the parameters of a network differ."""
    expected: list[list[np.ndarray]] = []
    for contender in everybody:
        contender.reset()
        contender.epochs(2)
        weights = [[array.copy() for array in arrays] for arrays in contender.weights()]
        expected = expected or weights
        for number, (problem, ours, theirs) in enumerate(zip(problems, expected, weights, strict=True)):
            if differs(problem.flat_parameters, ours, theirs):
                sys.exit(f"compare_peers: {problem.workload.name}: {contender.name} trains network {number} otherwise")


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    steps = 25_000 * setting.seconds  # of each network: by default the 250 epochs of the disc
    header: list[str] = []
    for name in setting.workloads:
        if name not in CASES:
            continue
        note(f"many networks, {name}")
        workload = WORKLOADS[name]
        epochs = max(1, round(steps / workload.steps))
        problems = [Problem(workload, number) for number in range(NETWORKS)]
        everybody = contenders(problems, setting)
        check_agreement(problems, everybody)
        turns = [Contender(each.name, partial(_repeat, each, epochs), each.reset) for each in everybody]
        times = {each: time / (NETWORKS * epochs * workload.steps) for each, time in take_turns(turns, setting).items()}
        if not header:
            header = ["workload", "epochs", *times]
            yield header
        ours = times["fastmlp"]
        yield [name, str(epochs), microseconds(ours), *(times_ours(times[peer], ours) for peer in header[3:])]


def _repeat(contender: Any, epochs: int, count: int) -> None:
    for _ in range(count):
        contender.epochs(epochs)
