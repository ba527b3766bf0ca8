"""How many threads a run takes, on machines that are made up."""

from __future__ import annotations

import numpy as np
import pytest

from fastmlp.training.pace import FIRST_LOOK, STEPS_APART, Pace

SLICE = 0.05


def ran(most, seconds_of, until, noise=0.0):
    """Train with a clock of its own, and return seconds, steps, and the threads over time."""
    pace, clock, steps, count = Pace(most), 0.0, 0, 1
    rng, story = np.random.default_rng(0), []
    while clock < until:
        threads, cap = pace.next()
        taken = count if cap is None else min(count, cap)
        each = seconds_of(threads, clock) * (1 + noise * rng.standard_exponential())
        pace.note(taken * each, taken)
        story.append((clock, threads))
        clock, steps = clock + taken * each, steps + taken
        count = max(1, min(8 * count, int(SLICE / each)))
    return clock, steps, story


def quiet(threads, clock):
    return {1: 780e-6, 2: 450e-6}[threads]


def busy(threads, clock):
    return {1: 840e-6, 2: 1700e-6}[threads]


def very_busy(threads, clock):
    return {1: 1690e-6, 2: 9100e-6}[threads]


@pytest.mark.once
@pytest.mark.parametrize("machine", [quiet, busy, very_busy])
@pytest.mark.parametrize("until", [0.01, 0.1, 1.0, 10.0])
def test_pace_is_that_of_the_better_number(machine, until):
    seconds, steps, _ = ran(2, machine, until)
    best = steps * min(machine(1, 0), machine(2, 0))
    assert seconds < 1.05 * best + FIRST_LOOK + STEPS_APART * machine(2, 0)  # what it takes to find out


@pytest.mark.once
def test_pace_does_not_try_out_long_steps_early():
    _, steps, story = ran(2, lambda threads, _: 0.1 / threads, 0.9)
    assert steps == 18
    assert {threads for _, threads in story} == {2}


@pytest.mark.once
def test_pace_follows_the_machine():
    def changing(threads, clock):
        return (busy if 2 < clock < 6 else quiet)(threads, clock)

    _, _, story = ran(2, changing, 16, noise=0.05)
    threads = np.array([(at, count) for at, count in story])
    for first, last, wanted in ((0.1, 2, 2), (2.5, 6, 1), (10, 16, 2)):
        here = threads[(threads[:, 0] > first) & (threads[:, 0] < last), 1]
        assert (here == wanted).mean() > 0.9, (first, wanted)


@pytest.mark.once
def test_pace_leaves_out_a_core_that_is_busy():
    def machine(threads, clock):
        alone = 1e-3 / threads + 2e-5 * threads
        return alone if threads < 8 else 3 * alone

    _, _, story = ran(8, machine, 5)
    assert story[-1][1] == 7
    assert Pace(8).levels == [1, 4, 7, 8]
    assert Pace(1).levels == [1]
    assert Pace(1).next() == (1, None)
