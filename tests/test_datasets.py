from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_same_bits

from fastmlp.datasets import make_disc


def test_make_disc_labels_the_inside():
    X, y = make_disc(5000, rng=0)
    distance = np.hypot(*(X.astype(np.float64) - 0.5).T)
    np.testing.assert_array_equal(y, distance <= 1 / math.sqrt(2 * math.pi))
    assert X.min() >= 0
    assert X.max() <= 1


def test_make_disc_is_half_inside():
    """Five standard deviations of a fair coin."""
    _, y = make_disc(10_000, rng=1)
    assert abs(y.mean() - 0.5) < 5 * 0.5 / 100


def test_make_disc_takes_centre_and_radius():
    X, y = make_disc(1000, (0.25, 1), 0.2, rng=0)
    np.testing.assert_array_equal(y, np.hypot(X[:, 0] - 0.25, X[:, 1] - 1.0) <= 0.2)
    assert 0 < y.sum() < 200


def test_make_disc_has_shapes_and_dtypes():
    X, y = make_disc(7, rng=0)
    assert (X.shape, X.dtype) == ((7, 2), np.float32)
    assert (y.shape, y.dtype) == ((7,), np.int64)


def test_make_disc_is_deterministic():
    for first, second in zip(make_disc(50, rng=3), make_disc(50, rng=np.random.default_rng(3))):
        assert_same_bits(first, second)
    assert not np.array_equal(make_disc(50, rng=3)[0], make_disc(50, rng=4)[0])


@pytest.mark.parametrize(
    ("arguments", "keywords", "error", "message"),
    [
        ((0,), {}, ValueError, "n must be at least 1; got 0"),
        ((2.5,), {}, TypeError, "n must be a whole number"),
        ((5,), {"radius": -1}, ValueError, "radius must be at least 0"),
        ((5,), {"centre": (1, 2, 3)}, ValueError, "centre must be a pair of finite numbers"),
        ((5,), {"centre": (np.nan, 0)}, ValueError, "centre must be a pair of finite numbers"),
        ((5,), {"rng": "x"}, TypeError, "rng must be None"),
    ],
)
def test_make_disc_rejects_bad_input(arguments, keywords, error, message):
    with pytest.raises(error, match=message):
        make_disc(*arguments, **keywords)
