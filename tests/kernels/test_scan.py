from __future__ import annotations

import numpy as np
import pytest

from fastmlp.kernels.scan import all_finite, first_outside


@pytest.mark.parametrize("size", [0, 1, 7, 64, 129])
def test_all_finite_accepts_finite_numbers(size, dtype, rng):
    values = rng.standard_normal(size).astype(dtype)
    values[:2] = np.finfo(dtype).max
    assert all_finite(values)
    assert all_finite(-values)


@pytest.mark.parametrize("wrong", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("size", [1, 7, 64, 129])
def test_all_finite_finds_one_wrong_number(size, wrong, dtype):
    for place in {0, size // 2, size - 1}:
        values = np.zeros(size, dtype)
        values[place] = wrong
        assert not all_finite(values)


@pytest.mark.parametrize("wrong", [-1, 5, np.iinfo(np.int64).min, np.iinfo(np.int64).max])
def test_first_outside_finds_the_first(wrong):
    labels = np.arange(50) % 5
    assert first_outside(labels, 5) == -1
    labels[[7, 30]] = wrong
    assert first_outside(labels, 5) == 7


def test_first_outside_of_an_empty_array():
    assert first_outside(np.empty(0, np.int64), 5) == -1
