import threading

import pytest

from fastmlp.team import run_together, team_size


def test_team_size_takes_what_is_wanted():
    assert team_size(3, work=1, work_per_thread=100) == 3


def test_team_size_is_one_for_little_work():
    assert team_size(None, work=199, work_per_thread=100) == 1


def test_team_size_rejects_no_threads():
    with pytest.raises(ValueError, match="threads must be at least 1; got 0"):
        team_size(0, work=1, work_per_thread=1)


@pytest.mark.parametrize("threads", [1, 2, 5])
def test_run_together_calls_each_once_on_its_own_thread(threads):
    seen = {}
    gate = threading.Barrier(threads)

    def call(i):
        gate.wait(10)
        seen[i] = threading.get_ident()

    run_together(call, threads)
    assert sorted(seen) == list(range(threads))
    assert len(set(seen.values())) == threads
    assert seen[0] == threading.get_ident()


@pytest.mark.parametrize("unlucky", [0, 1])
def test_run_together_raises_what_went_wrong_and_calls_the_others_off(unlucky):
    called_off = threading.Event()

    def call(i):
        if i == unlucky:
            raise MemoryError("none left")
        assert called_off.wait(10)

    with pytest.raises(MemoryError, match="none left"):
        run_together(call, 2, called_off.set)
