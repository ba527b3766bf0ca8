from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import (
    COLUMNS,
    DIFFERENCE_BOUND,
    ROWS,
    assert_within,
    central_differences,
    eps,
    normal,
)

import fastmlp as fm


def test_cross_entropy_matches_reference(dtype, rng):
    for rows, classes in itertools.product(ROWS, COLUMNS):
        check(rows, classes, dtype, rng)


def check(rows, classes, dtype, rng):
    out, y = 3 * normal(rng, (rows, classes), dtype), rng.integers(classes, size=rows)
    criterion = fm.CrossEntropyLoss()
    loss, gradient = criterion(out, y), criterion.backward()
    wide = out.astype(np.float64)
    probability = np.exp(wide - wide.max(1, keepdims=True))
    probability /= probability.sum(1, keepdims=True)
    size = 1 + np.abs(wide).max()
    bound = (classes + 8) * eps(dtype) * size
    assert_within(loss, -np.log(probability[np.arange(rows), y]).mean(), bound)
    assert_within(gradient, (probability - np.eye(classes)[y]) / rows, bound / rows)
    assert isinstance(loss, float)
    assert gradient.dtype == dtype


def test_cross_entropy_matches_finite_difference(rng):
    out, y = normal(rng, (5, 7), np.float64), rng.integers(7, size=5)
    criterion = fm.CrossEntropyLoss()
    criterion(out, y)
    gradient = criterion.backward()
    assert_within(gradient, central_differences(lambda: criterion(out, y), out), DIFFERENCE_BOUND)


def test_cross_entropy_of_large_logits_is_finite(dtype):
    criterion = fm.CrossEntropyLoss()
    large = float(np.finfo(dtype).max) / 4
    assert criterion(np.array([[large, 0]], dtype), [0]) == 0
    assert criterion(np.array([[large, 0]], dtype), [1]) == pytest.approx(large)
    assert np.isfinite(criterion.backward()).all()


@pytest.mark.parametrize(
    ("y", "error", "message"),
    [
        ([0, 1, 3], ValueError, r"whole numbers from 0 to 2 \(the model has 3 outputs\); y\[2\] is 3"),
        ([0, -1, 2], ValueError, r"y\[1\] is -1"),
        ([0, 0.5, 2], ValueError, r"y\[1\] is 0.5"),
        ([0, 1], ValueError, "as many rows as each other; got 3 and 2"),
        (np.eye(3, dtype=int), ValueError, r"not one-hot: y.argmax\(axis=1\)"),
        (["a", "b", "c"], TypeError, "must hold labels"),
    ],
)
def test_cross_entropy_rejects_bad_labels(y, error, message):
    criterion = fm.CrossEntropyLoss()
    with pytest.raises(error, match=message):
        criterion(np.zeros((3, 3)), y)
    with pytest.raises(RuntimeError, match=r"CrossEntropyLoss\.backward was called before forward: compute a loss first"):
        criterion.backward()


def test_cross_entropy_rejects_bad_outputs():
    with pytest.raises(ValueError, match=r"CrossEntropyLoss expects out of shape \(N, width\); got \(3,\)"):
        fm.CrossEntropyLoss()(np.zeros(3), [0])
    with pytest.raises(TypeError, match="out must hold real numbers"):
        fm.CrossEntropyLoss()([["a"]], [0])
