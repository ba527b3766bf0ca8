"""Squares of parameters, summed in each step of a run, against NumPy in float64."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import eps

import fastmlp as fm
from fastmlp.kernels.blocks.squares import SUMS, Squares
from fastmlp.training.data import Data
from fastmlp.training.fit import _make_run
from fastmlp.training.inputs import check_data
from fastmlp.training.run import Rates


class Watching(fm.SGD):
    """Plain steps, and the squares of the weights."""

    def _updates(self):
        spans = [(layer.weight.offset, layer.weight.span) for layer in (self.model[0], self.model[2])]
        return [*super()._updates(), *(Squares(*span) for span in spans)]


def begun(dtype, batch, threads, rows=53):
    """A run that has not taken a step, and its network."""
    rng = np.random.default_rng(0)
    model = fm.Sequential(fm.Linear(5, 19, dtype=dtype, rng=0), fm.Tanh(), fm.Linear(19, 3, dtype=dtype, rng=1), dtype=dtype)
    optimizer = Watching(model.parameters(), lr=0.05)
    object.__setattr__(optimizer, "model", model)
    criterion = fm.MSELoss()
    given = check_data(model, criterion, rng.normal(size=(rows, 5)), rng.normal(size=(rows, 3)), None, "", finite=True)
    data = Data(given, batch, batch, -(-rows // batch), rows, shuffle=False, seed=0, last_epoch=2)
    return _make_run(model, criterion, optimizer, data, 0, Rates(optimizer, None, 0, data.batches), threads), model


def sums(run, steps):
    """What the ops have for each step of the last call."""
    records = [record for op, record in zip(run.program.ops, run.program.records) if isinstance(op, Squares)]
    parts = [run.job.work[r.sums : r.sums + steps * r.room].reshape(steps, r.room) for r in records]
    return np.array([part.sum(axis=1, dtype=np.float64) for part in parts]).T


@pytest.mark.parametrize("batch", [1, 16, 17, 40, 53])
def test_squares_match_reference(batch, dtype):
    run, model = begun(dtype, batch, 1)
    steps = 2 * run.data.batches
    expected, found = [], []
    for _ in range(steps):
        expected.append([(layer.weight.data.astype(float) ** 2).sum() for layer in (model[0], model[2])])
        run.advance(2, 1)
        found.append(sums(run, 1)[0])
    np.testing.assert_allclose(found, expected, rtol=100 * eps(dtype))
    assert not run.failed
    assert np.ptp(expected, axis=0).min() > 1e-5  # they change

    for threads in (1, 2):  # in calls of several steps, the same bits
        other, _ = begun(dtype, batch, threads)
        done, parts = 0, []
        while not (other.epoch == 2 or other.failed):
            other.advance(2)
            taken = other.optimizer.steps - done
            done += taken
            parts.append(sums(other, taken))
        np.testing.assert_array_equal(np.concatenate(parts), found)


def test_room_is_for_the_steps_of_a_call():
    run, _ = begun("f4", 40, 1)
    record = next(record for op, record in zip(run.program.ops, run.program.records) if isinstance(op, Squares))
    assert (record.room, record.steps) == (3, SUMS // 3)
