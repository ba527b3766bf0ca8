from __future__ import annotations

import numpy as np
from helpers import jit, small

from fastmlp.kernels.shuffle import epoch_order, mix


@jit
def stream(numbers, key):
    for i in range(numbers.size):
        numbers[i] = mix(np.uint64(key), i)


def order(rows, seed, epoch):
    result = np.full(rows, -1)
    epoch_order(result, seed, epoch)
    return result


def test_mix_matches_the_published_generator():
    """SplitMix64 seeded with 1234567: the first numbers of the reference implementation."""
    numbers = np.empty(5, np.uint64)
    stream(numbers, 1234567)
    assert numbers.tolist() == [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]


def test_shuffle_is_a_permutation():
    for rows in (0, 1, 2, 3, 7, 1000):
        assert sorted(order(rows, 5, 3)) == list(range(rows))


def test_shuffle_is_deterministic():
    np.testing.assert_array_equal(order(101, 5, 3), order(101, 5, 3))
    np.testing.assert_array_equal(order(11, 2**62 - 1, 2**40), order(11, 2**62 - 1, 2**40))


def test_shuffle_overwrites_output():
    first, second = np.arange(20)[::-1].copy(), np.full(20, 7)
    epoch_order(first, 1, 1)
    epoch_order(second, 1, 1)
    np.testing.assert_array_equal(first, second)


def test_shuffle_depends_on_seed_and_epoch():
    orders = {tuple(order(20, seed, epoch)) for seed in range(10) for epoch in range(10)}
    assert len(orders) == 100


def test_shuffle_is_uniform():
    """All 24 orders of 4 rows, over many epochs: chi-squared with 23 degrees of freedom is below 60 but for 4 in 100000."""
    runs = small(24_000, 4_800)
    counts = {}
    for epoch in range(runs):
        key = tuple(order(4, 12345, epoch))
        counts[key] = counts.get(key, 0) + 1
    expected = runs / 24
    assert len(counts) == 24
    assert sum((count - expected) ** 2 / expected for count in counts.values()) < 60


def test_shuffle_is_the_one_that_saved_runs_had():
    """A resumed run must see the order that the interrupted one would have had: it may not change between versions."""
    assert order(10, 0, 0).tolist() == [2, 5, 0, 4, 3, 7, 9, 8, 1, 6]
    assert order(10, 12345678901234567, 3).tolist() == [7, 3, 9, 8, 0, 2, 6, 5, 1, 4]
