"""The block of a batch of one row: training with it leaves the bits of training with the block for many rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers import assert_same_bits, normal

import fastmlp as fm
from fastmlp.kernels.blocks.linear import Linear
from fastmlp.kernels.blocks.linear_row import linear_row
from fastmlp.program import fused

OPTIMIZERS = {
    "sgd": lambda model: fm.SGD(model.parameters(), lr=0.05),
    "adam": lambda model: fm.Adam(model.parameters(), lr=0.01, weight_decay=0.1),
    "two_groups": lambda model: fm.SGD(
        [
            {"params": [p for p in model.parameters() if len(p.shape) == 2]},
            {"params": [p for p in model.parameters() if len(p.shape) == 1], "lr": 0.3},
        ],
        lr=0.05,
        momentum=0.9,
    ),
}


def network(dtype, widths, bias=True):
    rng = np.random.default_rng(3)
    layers = []
    for number, (width_in, width_out) in enumerate(pairwise(widths)):
        layers += [fm.Linear(width_in, width_out, bias=bias, dtype=dtype, rng=rng), fm.ReLU() if number % 2 else fm.Tanh()]
    return fm.Sequential(*layers[:-1])


def trained(dtype, widths=(3, 17, 5, 2), optimizer="sgd", bias=True, eager=False, **options):
    """The parameters after a few steps of one row."""
    rng = np.random.default_rng(4)
    X, y = normal(rng, (5, widths[0]), dtype), normal(rng, (5, widths[-1]), dtype)
    model = network(dtype, widths, bias)
    if options.pop("frozen", False):
        model[0].requires_grad_(False)
    criterion, chosen = fm.MSELoss(), OPTIMIZERS[optimizer](model)
    if not eager:
        fm.fit(
            model, criterion, chosen, X, y, epochs=2, batch_size=1, shuffle=False, progress=False, **{"threads": 1} | options
        )
        return model.state_dict()
    for _ in range(2):
        for n in range(5):
            chosen.zero_grad()
            criterion(model(X[n : n + 1]), y[n : n + 1])
            model.backward(criterion.backward())
            chosen.step()
    return model.state_dict()


@pytest.fixture
def blocks(monkeypatch):
    """Call with False: no layer has the block any more."""
    return lambda wanted: monkeypatch.setattr(Linear, "row_block", linear_row if wanted else None)


CASES = {
    "plain": {},
    "narrow and wide": {"widths": (1, 130, 33, 1)},
    "no bias": {"bias": False},
    "a whole line": {"widths": (16, 32, 16)},
    "adam": {"optimizer": "adam"},
    "two groups": {"optimizer": "two_groups"},
    "a frozen layer": {"frozen": True},
    "eager": {"eager": True, "optimizer": "adam"},
    "two threads": {"threads": 2, "widths": (3, 40, 50, 2)},
}


@pytest.mark.parametrize("case", CASES)
def test_steps_of_one_row_are_those_of_the_block_for_many(dtype, case, blocks):
    with_it = trained(dtype, **CASES[case])
    blocks(False)
    without = trained(dtype, **CASES[case])
    for name, value in with_it.items():
        assert_same_bits(np.ascontiguousarray(value), np.ascontiguousarray(without[name]))


def test_gradients_that_are_added_up_row_by_row_are_those_of_the_batch(dtype):
    rng = np.random.default_rng(5)
    X, y = normal(rng, (6, 3), dtype), normal(rng, (6, 2), dtype)
    results = []
    for options in ({"batch_size": 1, "accumulate": 3}, {"batch_size": 3}):
        model = network(dtype, (3, 17, 5, 2))
        optimizer = fm.SGD(model.parameters(), lr=0.05)
        fm.fit(model, fm.MSELoss(), optimizer, X, y, epochs=2, shuffle=False, progress=False, threads=1, **options)
        results.append(model.state_dict())
    for name, value in results[0].items():
        assert_same_bits(np.ascontiguousarray(value), np.ascontiguousarray(results[1][name]))


def test_the_program_of_one_row_has_the_block_and_no_other_has():
    def blocks_of(batch):
        return [op.block for op in fused([Linear(2, 3, 0, -1), Linear(3, 4, 64, -1)], batch)]

    assert blocks_of(1) == [linear_row] * 2
    assert linear_row not in blocks_of(2) + blocks_of(None)
