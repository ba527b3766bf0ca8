from __future__ import annotations

import math

import numpy as np
import pytest
from commands.verdict import is_slower, is_suspect, ratio


def test_ratio_is_the_median_over_turns_side_by_side():
    assert ratio([1, 2, 4], [1.5, 3, 6]) == 1.5
    assert ratio([1, 1, 1, 1, 9], [1.5, 1.5, 70, 1.5, 1.5]) == 1.5


def test_ratio_does_not_feel_a_machine_that_slows_down():
    drift = np.linspace(1, 3, 9)
    assert ratio(drift, 1.2 * drift) == pytest.approx(1.2)


def test_ratio_of_counts_that_may_be_nothing():
    assert ratio([0.0], [0.0]) == 1
    assert ratio([0.0], [2.0]) == math.inf


def test_suspect_begins_halfway_to_the_threshold():
    assert not is_suspect(1.04, 1.1)
    assert is_suspect(1.06, 1.1)


def test_slower_needs_every_pair_of_processes():
    assert is_slower([1.3, 1.12, 1.2, 1.06, 1.11], 1.1)
    assert not is_slower([1.3, 1.3, 1.3, 1.3, 1.04], 1.1), "one pair does not see it"
    assert not is_slower([1.09, 1.09, 1.08, 1.2, 1.06], 1.1), "most are below the threshold"


def test_the_same_code_is_not_slower_whatever_the_process():
    """Ratios of the same code scatter by a tenth from one pair of processes to another."""
    draws = np.random.default_rng(0).lognormal(0, 0.07, (2000, 5))
    assert np.mean([is_slower(draw, 1.1) for draw in draws]) < 0.001


def test_half_as_slow_again_is_slower_whatever_the_process():
    draws = 1.5 * np.random.default_rng(0).lognormal(0, 0.07, (2000, 5))
    assert np.mean([is_slower(draw, 1.1) for draw in draws]) > 0.999
