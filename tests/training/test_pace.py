"""How many threads a run takes, on machines that are made up."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest

from fastmlp.training import pace as paces
from fastmlp.training.pace import FIRST_LOOKS, STEPS_APART, Pace, keep_pace, pace_of

SLICE = 0.05


def ran(most, seconds_of, until, noise=0.0, free=lambda clock: None, share=lambda threads, clock: 1.0):
    """Train with a clock of its own, and return seconds, steps, and the threads over time."""
    clock, steps, count = 0.0, 0, 1
    pace = Pace(most, lambda: free(clock))
    rng, story = np.random.default_rng(0), []
    while clock < until:
        threads, cap = pace.next()
        taken = count if cap is None else min(count, cap)
        story.append((clock, threads))
        began, slower = clock, 1 + noise * rng.standard_exponential()
        for _ in range(taken):
            clock += seconds_of(threads, clock) * slower
        pace.note(clock - began, taken, share(threads, clock))
        steps += taken
        count = max(1, min(8 * count, int(SLICE * taken / (clock - began))))
    return clock, steps, story


def quiet(threads, clock):
    return {1: 780e-6, 2: 450e-6}[threads]


def busy(threads, clock):
    return {1: 840e-6, 2: 1700e-6}[threads]


def very_busy(threads, clock):
    return {1: 1690e-6, 2: 9100e-6}[threads]


@pytest.mark.once
@pytest.mark.parametrize("machine", [quiet, busy, very_busy])
@pytest.mark.parametrize("until", [0.005, 0.01, 0.03, 0.1, 1.0, 10.0])
def test_pace_is_that_of_the_better_number(machine, until):
    seconds, steps, _ = ran(2, machine, until, share=lambda threads, _: 1.0 if machine is quiet or threads == 1 else 0.3)
    each, other = machine(1, 0), machine(2, 0)
    # And what it takes to find out: nothing, where two threads are the better number.
    assert seconds < 1.05 * steps * min(each, other) + max(0, other - each) * (FIRST_LOOKS[0][0] / other + STEPS_APART + 2)


@pytest.mark.once
@pytest.mark.parametrize(("one", "two", "until", "lost"), [(145e-6, 210e-6, 0.03, 1.2), (0.8e-3, 1.2e-3, 0.3, 1.1)])
def test_pace_does_not_take_a_number_for_its_first_step(one, two, until, lost):
    """A step whose data lies in the caches of the other core takes three times as long."""
    last = [2]

    def machine(threads, clock):
        cold = 2 * one if threads != last[0] else 0
        last[0] = threads
        return {1: one, 2: two}[threads] + cold

    seconds, steps, story = ran(2, machine, until)
    assert story[-1][1] == 1
    assert seconds < lost * steps * one


@pytest.mark.once
@pytest.mark.parametrize("until", [0.1, 10.0])
def test_pace_is_not_taken_in_by_a_system_that_favours_threads_which_have_slept(until):
    """Beside a busy process two threads are fast for three milliseconds after one has worked alone, then slow."""
    since = [0.0]

    def machine(threads, clock):
        if threads == 1:
            since[0] = clock
        return 145e-6 if threads == 1 else 100e-6 if clock - since[0] < 0.003 else 400e-6

    seconds, steps, story = ran(2, machine, until)
    alone = sum(after - at for (at, threads), (after, _) in pairwise([*story, (until, 0)]) if threads == 1)
    assert seconds < 1.05 * steps * 145e-6 + 0.006
    assert alone > 0.85 * until


@pytest.mark.once
def test_pace_does_not_try_out_long_steps_early():
    _, steps, story = ran(2, lambda threads, _: 0.1 / threads, 0.39)
    assert steps == 8
    assert {threads for _, threads in story} == {2}


def share_of(story, threads, first, last=np.inf):
    """Of the calls that begin in this time, the part on so many threads."""
    return np.mean([count == threads for at, count in story if first <= at < last])


@pytest.mark.once
def test_pace_hardly_tries_out_one_thread_where_two_have_their_cores():
    seconds, steps, story = ran(2, lambda threads, _: 0.03 / threads, 7)
    assert share_of(story, 2, 0, 1.4) == 1
    assert seconds < 1.011 * steps * 0.015


@pytest.mark.once
def test_pace_does_not_try_out_long_steps_because_they_became_longer_or_time_has_passed():
    """As in short runs, a while apart, whose steps take now 15 ms and now 22, on two cores that they have for themselves."""
    pace = Pace(2)
    for _ in range(6):
        for each in (0.015, 0.022, 0.018):
            threads, most = pace.next()
            assert threads == 2
            pace.note(5 * each, 5, 0.97)
            assert most is None or most >= 5
        pace.pause(2.0)
    looks = 0
    for _ in range(3 * paces.FULL_STEPS // 5):
        threads, _ = pace.next()
        looks += threads == 1
        pace.note(5 * 0.018 if threads == 2 else 0.035, 5 if threads == 2 else 1, 0.97)
    assert looks == 3, "one for so many steps"


@pytest.mark.once
def test_pace_tries_out_one_thread_where_two_do_not_have_their_cores():
    def machine(threads, clock):
        return {1: 0.03, 2: 0.015 if clock < 1 else 0.06}[threads]

    _, _, story = ran(2, machine, 10, share=lambda threads, clock: 1.0 if clock < 1 or threads == 1 else 0.4)
    assert share_of(story, 2, 0, 1) == 1
    assert share_of(story, 1, 1.7) > 0.97


@pytest.mark.once
def test_pace_looks_again_where_two_threads_get_less_still():
    def machine(threads, clock):  # half a core each is as good as one that a third process wants, too
        return {1: 0.03, 2: 0.028 if clock < 2 else 0.06}[threads]

    _, _, story = ran(2, machine, 10, share=lambda threads, clock: 0.5 if clock < 2 else 0.25)
    assert 0 < share_of(story, 1, 0, 2) < 0.1
    assert share_of(story, 1, 3) > 0.95


@pytest.mark.once
def test_pace_begins_with_the_cores_that_nobody_uses():
    for machine in (busy, very_busy):
        seconds, steps, story = ran(2, machine, 7, free=lambda clock: 1)
        assert {threads for _, threads in story} == {1}
        assert seconds < 1.0001 * steps * machine(1, 0)
        assert len(story) < 1.3 * seconds / SLICE + 10
    _, _, story = ran(2, busy, 20, free=lambda clock: 1)
    assert 2 <= sum(threads == 2 for _, threads in story) <= 4  # looks: the others may have a lower priority
    assert Pace(16, lambda: 7).next()[0] == 1
    assert Pace(16, lambda: 8).next()[0] == 8
    assert Pace(16, lambda: 15).next()[0] == 15
    assert Pace(16, lambda: 17).next()[0] == 16


@pytest.mark.once
def test_pace_asks_more_than_once_how_it_is_to_begin():
    answers = iter([1, 2, 1])
    assert Pace(2, lambda: next(answers)).next()[0] == 2


@pytest.mark.once
def test_pace_takes_the_cores_that_become_free():
    def machine(threads, clock):
        return (busy if clock < 3 else quiet)(threads, clock)

    _, _, story = ran(2, machine, 5, free=lambda clock: 1 + int(clock > 3))
    assert share_of(story, 1, 0, 3) == 1
    assert share_of(story, 2, 3.1) > 0.9


@pytest.mark.once
def test_pace_does_not_try_again_and_again_what_is_slower_on_a_quiet_machine():
    _, _, story = ran(2, busy, 10, free=lambda clock: 2)
    assert sum(threads == 2 for at, threads in story if at > 0.1) <= 2 * 5  # a look: a step that wakes, and some that count


@pytest.mark.once
def test_pace_goes_up_by_the_levels_for_which_there_is_room():
    """Half of sixteen cores are busy at first, then a single one, then none."""

    def machine(threads, clock):
        return 16e-3 / threads

    _, _, story = ran(16, machine, 3, free=lambda clock: 8 if clock < 1 else 15 if clock < 2 else 16)
    for first, last, threads in ((0, 1, 8), (1.1, 2, 15), (2.1, 3, 16)):
        assert share_of(story, threads, first, last) > 0.9, threads
    assert 1 not in {threads for _, threads in story}


@pytest.mark.once
def test_pace_takes_the_cores_that_become_free_in_a_short_run():
    _, _, story = ran(2, quiet, 0.2, free=lambda clock: 1 + int(clock > 0.01))
    assert share_of(story, 1, 0, 0.01) == 1
    assert share_of(story, 2, 0.04) == 1


@pytest.mark.once
def test_pace_does_not_look_whenever_others_come_and_go():
    seconds, steps, _ = ran(2, busy, 2, free=lambda clock: 1 + int(clock % 0.05 > 0.02))
    assert seconds < 1.02 * steps * busy(1, 0)


@pytest.mark.once
def test_pace_hardly_looks_at_what_is_slower_where_all_have_their_cores():
    seconds, steps, story = ran(2, quiet, 20)
    assert seconds < 1.002 * steps * quiet(2, 0)
    assert share_of(story, 1, 0.1, 9) == 0


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


@pytest.mark.once
def test_a_run_of_the_same_work_that_comes_soon_goes_on_with_what_is_known(monkeypatch):
    clock = [100.0]
    monkeypatch.setattr(paces, "KEPT", {})
    monkeypatch.setattr(paces.time, "monotonic", lambda: clock[0])
    monkeypatch.setattr(paces, "free_cores", lambda own: None)
    work = 1000, 32, np.dtype(np.float32)
    first = pace_of(2, work)
    first.note(2 * 450e-6, 2)
    keep_pace(first, work)
    assert pace_of(2, (1000, 64, np.dtype(np.float32))) is not first
    assert pace_of(3, work) is not first
    assert first.next()[0] == 2
    clock[0] += 1.0
    assert pace_of(2, work) is first
    assert first.next()[0] == 1  # a look: the machine may have changed meanwhile
    assert pace_of(2, work) is not first  # which a run has that is not at its end
    keep_pace(first, work)
    clock[0] += 2.5
    assert pace_of(2, work) is not first
    assert not paces.KEPT


@pytest.mark.once
def test_a_look_that_was_broken_off_is_not_noted_for_the_next_run():
    pace = Pace(2)
    while pace.next()[0] == 2:
        pace.note(20 * 450e-6, 20)
    pace.pause(0)
    pace.note(400e-6, 1)  # of a look, that would be reason enough to go on with one thread
    for _ in range(2):
        assert pace.next()[0] == 1  # the look once more, behind a step that does not count
        pace.note(780e-6, 1)
    assert pace.next()[0] == 2
