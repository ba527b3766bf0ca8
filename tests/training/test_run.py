from __future__ import annotations

import numpy as np
import pytest

from fastmlp.training.data import Data
from fastmlp.training.run import Run


def run_of(batches=3, rows=10, first_epoch=0):
    return Run(Data(np.empty((rows, 1)), np.empty(rows), 4, batches, rows, False, 0), first_epoch, lambda _: 0.1)


def test_count_within_an_epoch():
    run = run_of()
    run._count(2, [5.0])
    assert (run.epoch, run.batch, run.losses) == (0, 2, [])
    run._count(1, [8.0, 0.0])
    assert (run.epoch, run.batch, run.losses) == (1, 0, [0.8])


def test_count_over_several_epochs():
    run = run_of(first_epoch=7)
    run._count(8, [10.0, 20.0, 1.0])
    assert (run.epoch, run.batch, run.losses) == (9, 2, [1.0, 2.0])
    run._count(1, [5.0, 0.0])
    assert (run.epoch, run.batch, run.losses) == (10, 0, [1.0, 2.0, 0.5])


def test_count_of_no_steps_changes_nothing():
    run = run_of()
    run._count(1, [5.0])
    run._count(0, [0.0])
    run._count(2, [10.0, 0.0])
    assert run.losses == [1.0]


def test_advance_is_given_by_a_subclass():
    with pytest.raises(NotImplementedError):
        run_of().advance(1)
