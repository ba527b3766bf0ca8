"""The block of a batch of one row: training with it leaves the bits of training with the block for many rows."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from helpers import assert_same_bits, normal

import fastmlp as fm
from fastmlp.kernels.blocks.linear import Linear
from fastmlp.kernels.blocks.linear_row import linear_row
from fastmlp.kernels.blocks.linear_row_update import linear_row_update
from fastmlp.kernels.blocks.optimizers import Update
from fastmlp.program import Program, fused


class Halfway(fm.Optimizer):
    """A formula of somebody's, without state."""

    def __init__(self, params, lr):
        super().__init__(params, lr=lr)

    def scalars(self, group, t, lr):
        return (-lr,)

    @staticmethod
    def update(p, g, minus_lr):
        return p + minus_lr * g / (abs(g) + 0.5)


OPTIMIZERS = {
    "sgd": lambda model: fm.SGD(model.parameters(), lr=0.05),
    "decay": lambda model: fm.SGD(model.parameters(), lr=0.05, weight_decay=0.1, maximize=True),
    "user's": lambda model: Halfway(model.parameters(), lr=0.05),
    "adam": lambda model: fm.Adam(model.parameters(), lr=0.01, weight_decay=0.1),
    "two_groups": lambda model: fm.SGD(
        [
            {"params": [p for p in model.parameters() if len(p.shape) == 2]},
            {"params": [p for p in model.parameters() if len(p.shape) == 1], "lr": 0.3},
        ],
        lr=0.05,
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
def without_blocks(monkeypatch):
    """Call it: no layer has these blocks any more."""

    def take_away():
        monkeypatch.setattr(Linear, "row_block", None)
        monkeypatch.setattr(Linear, "row_block_with", lambda op, update: None)

    return take_away


CASES = {
    "plain": {},
    "narrow and wide": {"widths": (1, 130, 33, 1)},
    "no bias": {"bias": False},
    "a whole line": {"widths": (16, 32, 16)},
    "decay": {"optimizer": "decay", "widths": (3, 16, 33, 2)},
    "a user's optimizer": {"optimizer": "user's"},
    "adam": {"optimizer": "adam"},
    "two groups": {"optimizer": "two_groups"},
    "a frozen layer": {"frozen": True},
    "eager": {"eager": True, "optimizer": "adam"},
    "two threads": {"threads": 2, "widths": (3, 40, 50, 2)},
}


@pytest.mark.parametrize("case", CASES)
def test_steps_of_one_row_are_those_of_the_block_for_many(dtype, case, without_blocks):
    with_it = trained(dtype, **CASES[case])
    without_blocks()
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


def test_the_formula_is_applied_by_the_layer_where_it_has_no_state_and_trains_weight_and_bias():
    def descent(p, g, lr):
        return p - lr * g

    def with_state(p, g, state, lr):
        return p - lr * state, g

    plain, kept = Update("plain", descent, 0, 1, 3), Update("kept", with_state, 1, 1, 4)

    def layer_of(updates, group_of=lambda place: 0, batch=1, bias=32):
        loss = fm.MSELoss()._op(3)
        dtype = np.dtype(np.float32)
        program = Program.training([Linear(2, 3, 0, bias)], loss, updates, group_of, dtype, batch=batch, threads=1)
        (found,) = [(op.block, r.scalars) for op, r in zip(program.ops, program.records) if isinstance(op, Linear)]
        return found

    at_once = linear_row_update(descent, 1), 3
    assert layer_of([plain]) == at_once
    assert layer_of([plain], bias=-1) == at_once
    assert layer_of([kept]) == (linear_row, 0)
    assert layer_of([plain, kept], lambda place: int(place > 0)) == (linear_row, 0)  # the bias by another one
    assert layer_of([plain], lambda place: 0 if place > 0 else None) == (linear_row, 0)  # a frozen weight
    assert layer_of([plain], batch=2) == (Linear.block, 0)
