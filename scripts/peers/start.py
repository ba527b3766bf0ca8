"""Section: from nothing to an import, and to a trained network, in fresh processes."""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator

from .children import run_child, seconds_of
from .setting import Setting, note
from .tables import NOTHING

__all__ = ["CAPTION", "TITLE", "rows"]

TITLE = "Start-up"
EPOCHS = 250
CAPTION = f"""\
Seconds of a fresh process from start to end, medians of interleaved rounds: an import alone; the import and {EPOCHS} epochs
of disc-b100; the import and one epoch where fastmlp has not yet compiled its kernels on this machine."""

#: What is imported, and by whom it is brought: None for what is always there.
IMPORTS = {
    "Python alone": ("pass", None),
    "NumPy": ("import numpy", None),
    "numba": ("import numba", None),
    "fastmlp": ("import fastmlp", None),
    "onnxruntime": ("import onnxruntime", "onnxruntime"),
    "torch": ("import torch", "torch"),
    "JAX": ("import jax", "jax"),
    "scikit-learn": ("import sklearn.neural_network", "scikit-learn"),
}

#: Where the class is that trains.
TRAINERS = {
    "fastmlp": ("with_fastmlp", "FastmlpFit"),
    "torch": ("with_torch", "Torch"),
    "JAX": ("with_jax", "Jax"),
    "scikit-learn": ("with_sklearn", "ScikitLearn"),
}


def training(library: str, epochs: int) -> str:
    """The code of a process that trains the disc network."""
    module, name = TRAINERS[library]
    return (
        f"from peers.{module} import {name}; from peers.workloads import WORKLOADS, Problem; "
        f"it = {name}(Problem(WORKLOADS['disc-b100'])); it.reset(); it.epochs({epochs})"
    )


def rows(setting: Setting) -> Iterator[list[str]]:
    """The table."""
    yield ["library", "import", f"import and {EPOCHS} epochs", "nothing compiled"]
    imports = {name: code for name, (code, peer) in IMPORTS.items() if peer is None or peer in setting.peers}
    trained = _medians({name: training(name, EPOCHS) for name in TRAINERS if name in imports}, "first use", setting, most=3)
    imported = _medians(imports, "import", setting, most=7)
    cold = [_cold(count) for count in range(setting.cold)]
    for name, seconds in imported.items():
        first_use = f"{trained[name]:.2f}" if name in trained else NOTHING
        yield [name, f"{seconds:.2f}", first_use, f"{statistics.median(cold):.1f}" if cold and name == "fastmlp" else NOTHING]


def _cold(count: int) -> float:
    note(f"start-up, fastmlp compiles its kernels, round {count + 1}")
    with tempfile.TemporaryDirectory() as empty:
        return seconds_of(training("fastmlp", 1), XDG_CACHE_HOME=empty, NUMBA_CACHE_DIR=empty)


def _medians(programs: dict[str, str], what: str, setting: Setting, most: int) -> dict[str, float]:
    """The median seconds of each program, after one run of each that leaves .pyc files, caches and warm file pages."""
    for name, code in programs.items():
        note(f"start-up, {what}, {name}")
        run_child(code)
    times: dict[str, list[float]] = {name: [] for name in programs}
    for count in range(min(setting.rounds, most)):
        note(f"start-up, {what}, round {count + 1}")
        for name, code in programs.items():
            times[name].append(seconds_of(code))
    return {name: statistics.median(values) for name, values in times.items()}
