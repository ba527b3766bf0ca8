"""Every entry of the registry against PyTorch's numbers, which are stored in tests/golden; PyTorch is not needed."""

from __future__ import annotations

import numpy as np
import pytest
from golden import replay
from golden.inputs import BATCH_SIZE, EPOCHS, LAYERS, SHAPES, WIDTHS, values
from golden.record import FOLDER, NETWORKS, load
from helpers import DTYPES

import fastmlp as fm
from fastmlp import registry

HOW = {"widths": WIDTHS, "epochs": EPOCHS, "batch_size": BATCH_SIZE}


def sgd(parameters):
    return fm.SGD(parameters, lr=0.1)


def slower(parameters):
    """For losses that are sums."""
    return fm.SGD(parameters, lr=0.02)


def of_width(entry, case):
    """What makes the module or the loss, in this case, for inputs of a width."""
    return lambda width: registry.made(entry, case, width)


def tanh(width):
    return fm.Tanh()


def mse(width):
    return fm.MSELoss()


@pytest.mark.parametrize("name", registry.activations())
def test_activation_matches_golden(name):
    entry, records = registry.activations()[name], load(name)
    trials = [(of_width(entry, case), mse, lambda: sgd) for case in entry.cases]
    for dtype in DTYPES:
        np.testing.assert_array_equal(records[dtype.__name__]["x"], values(dtype)[0], err_msg=f"make golden NAME={name}")
        replay.check_activation(entry, entry.cases, records[dtype.__name__])
        replay.check_training(trials, records["training"], dtype, **HOW)


@pytest.mark.parametrize("name", registry.layers())
def test_layer_matches_golden(name):
    entry, records = registry.layers()[name], load(name)
    parts = [part for part in records if not part.startswith("training")]
    assert len(parts) == 6 if entry.least_rows == 1 else 5
    for part in parts:
        replay.check_layer(entry, entry.cases, records[part])
    for dtype in DTYPES:
        for number, case in enumerate(entry.cases):
            trials = [(of_width(entry, case), mse, lambda: sgd)]
            replay.check_training(trials, records[f"training.{number}"], dtype, **HOW)


@pytest.mark.parametrize("name", registry.criteria())
def test_criterion_matches_golden(name):
    entry, records = registry.criteria()[name], load(name)
    trials = [(tanh, of_width(entry, case), lambda: slower) for case in entry.cases]
    shapes = [part for part in records if not part.startswith("training")]
    assert len(shapes) == 8 * len(entry.targets)
    for part in shapes:
        replay.check_criterion(entry, entry.cases, records[part])
    for kind in entry.targets:
        for dtype in DTYPES:
            replay.check_training(trials, records[f"training.{kind}"], dtype, **HOW)


@pytest.mark.parametrize("name", registry.optimizers())
def test_optimizer_matches_golden(name):
    entry, records = registry.optimizers()[name], load(name)
    trials = [(tanh, mse, lambda case=case: lambda parameters: entry(parameters, **case)) for case in entry.cases]
    for dtype in DTYPES:
        replay.check_optimizer(entry, entry.cases, records["steps"], dtype, SHAPES)
        replay.check_training(trials, records["training"], dtype, **HOW)


@pytest.mark.parametrize("name", registry.schedules())
def test_schedule_matches_golden(name):
    entry = registry.schedules()[name]
    replay.check_schedule(entry, entry.cases, load(name)["epochs"])


def test_network_matches_golden():
    records = load("Network")
    assert len(records) == 4
    for part, record in records.items():
        replay.check_network(LAYERS, part.partition(".")[0], record)


def test_golden_files_are_those_of_the_registry():
    names = {*NETWORKS, *registry.entries()}
    assert {path.stem for path in FOLDER.glob("*.npz")} == names
    assert sum(path.stat().st_size for path in FOLDER.glob("*.npz")) < 400_000


def test_entry_without_golden_numbers_says_what_makes_them(monkeypatch):
    with pytest.raises(FileNotFoundError, match=r"there is no tests/golden/None.npz: `make golden` makes it"):
        load("None")
    monkeypatch.setattr(fm.ReLU, "cases", ({}, {}))
    with pytest.raises(ValueError, match=r"ReLU.npz is not of the cases that ReLU has now: `make golden` makes it anew"):
        load("ReLU")
