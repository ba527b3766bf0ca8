from __future__ import annotations

import numpy as np

import fastmlp as fm
from fastmlp import registry
from fastmlp.criterion.example import example, targets_for


def test_every_loss_takes_its_example(rng):
    for kind in registry.criteria().values():
        for case in kind.cases:
            for width in (1, 4):
                criterion = registry.made(kind, case, width)
                out, y = example(criterion, 5, 7, rng)
                assert len(out) == len(y) == 5
                assert np.isfinite(criterion(out, y))
                assert np.isfinite(criterion(out, targets_for(criterion, out, rng)))
                assert np.isfinite(criterion.backward()).all()


def test_example_has_a_column_for_each_number(rng):
    assert example(fm.CrossEntropyLoss([1, 2]), 3, 7, rng)[0].shape == (3, 2)
    assert example(fm.QuantileLoss([0.1, 0.5, 0.9]), 3, 7, rng)[0].shape == (3, 3)
    assert example(fm.GaussianNLLLoss(), 3, 7, rng)[0].shape == (3, 14)
    assert example(fm.MSELoss(), 3, 7, rng)[0].shape == (3, 7)
