from __future__ import annotations

import numpy as np
from helpers import assert_within, eps, jit, normal

from fastmlp.kernels.scan import all_finite, first_beyond, first_outside, row_sum

SIZES = [1, 7, 64, 129]


def test_all_finite_accepts_finite_numbers(dtype, rng):
    for size in [0, *SIZES]:
        values = normal(rng, size, dtype)
        values[:2] = np.finfo(dtype).max
        assert all_finite(values)
        assert all_finite(-values)


def test_all_finite_finds_one_wrong_number(dtype):
    for size in SIZES:
        for place in {0, size // 2, size - 1}:
            for wrong in (np.nan, np.inf, -np.inf):
                values = np.zeros(size, dtype)
                values[place] = wrong
                assert not all_finite(values)


def test_first_outside_finds_the_first():
    for wrong in (-1, 5, np.iinfo(np.int64).min, np.iinfo(np.int64).max):
        labels = np.arange(50) % 5
        assert first_outside(labels, 5) == -1
        labels[[7, 30]] = wrong
        assert first_outside(labels, 5) == 7
    assert first_outside(np.empty(0, np.int64), 5) == -1


def test_first_beyond_finds_the_first(dtype):
    for ends, good in ((False, [0, 0.5, 1]), (True, [0, 1])):
        values = np.resize(np.array(good, dtype), 50)
        assert first_beyond(values, 0.0, 1.0, ends) == -1
        for wrong in (-1e-30, 1 + 2 * eps(dtype), np.nan, np.inf, *([0.5] if ends else [])):
            values[[7, 30]] = wrong
            assert first_beyond(values, 0.0, 1.0, ends) == 7
    assert first_beyond(np.empty(0, dtype), 0.0, 1.0, False) == -1


@jit
def sum_of(losses):
    return row_sum(losses)


def test_row_sum_is_in_four_chains_in_float64(dtype, rng):
    for size in [0, *range(1, 10), 64, 129]:
        losses = normal(rng, size, dtype)
        chains = [0.0] * 4
        for n, loss in enumerate(losses.astype(np.float64).tolist()):
            chains[n % 4 if n < size // 4 * 4 else 0] += loss
        assert sum_of(losses) == (chains[0] + chains[1]) + (chains[2] + chains[3])
        assert_within(sum_of(losses), losses.sum(dtype=np.float64), size * eps(np.float64) * np.abs(losses).sum())
    large = np.array([1e8, 1, 1, 1, -1e8, 2**-20], dtype)
    assert sum_of(large) == 3 + 2**-20, "in float32, 1e8 + 2^-20 is 1e8"


def test_row_sum_of_a_number_that_is_not_finite_is_not_finite(dtype):
    for wrong in (np.nan, np.inf, -np.inf):
        for place in range(6):
            losses = np.ones(6, dtype)
            losses[place] = wrong
            assert not np.isfinite(sum_of(losses))
