"""threadpoolctl's limits hold for fastmlp, whoever is imported first."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest
from helpers import ThreadTimes, make_data, make_net, run_python

import fastmlp as fm
from fastmlp import threadpools
from fastmlp.training import pace

threadpoolctl = pytest.importorskip("threadpoolctl", minversion="3.2")
pytestmark = [pytest.mark.once, pytest.mark.usefixtures("eight_cores")]


def shown():
    """The threads of fastmlp, as threadpoolctl sees them."""
    (ours,) = (info for info in threadpoolctl.threadpool_info() if info["internal_api"] == "fastmlp")
    assert ours["user_api"] == "fastmlp"
    assert ours["version"] == fm.__version__
    return ours["num_threads"]


def test_limits_hold_and_end():
    assert shown() == 8
    for how in ({"limits": 2}, {"limits": 2, "user_api": "fastmlp"}, {"limits": {"fastmlp": 2}}):
        with threadpoolctl.threadpool_limits(**how):
            assert fm.get_num_threads() == shown() == 2, how
            with threadpoolctl.threadpool_limits(1):
                assert fm.get_num_threads() == shown() == 1, how
            assert fm.get_num_threads() == 2, how
        assert fm.get_num_threads() == shown() == 8, how
    with threadpoolctl.threadpool_limits(1, user_api="blas"):
        assert fm.get_num_threads() == 8
    with pytest.raises(KeyError), threadpoolctl.threadpool_limits(3):
        raise KeyError(fm.get_num_threads())
    assert fm.get_num_threads() == 8
    assert threadpoolctl.threadpool_limits.wrap(limits=4)(fm.get_num_threads)() == 4
    fm.set_num_threads(5)
    with threadpoolctl.threadpool_limits(100, user_api="fastmlp"):
        assert fm.get_num_threads() == 8, "the cores there are"
    assert fm.get_num_threads() == shown() == 5
    with pytest.raises(ValueError, match="the number of threads must be at least 1; got 0"):
        threadpoolctl.threadpool_limits(0, user_api="fastmlp")
    assert fm.get_num_threads() == 5


def test_limits_leave_no_limit_behind(monkeypatch):
    with threadpoolctl.threadpool_limits(5), threadpoolctl.threadpool_limits(3):
        pass
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    assert fm.get_num_threads() == shown() == 2


def test_limits_hold_on_all_threads():
    seen = []
    with threadpoolctl.threadpool_limits(3):
        other = threading.Thread(target=lambda: seen.append(fm.get_num_threads()))
        other.start()
        other.join()
    assert seen == [3]


@pytest.mark.alone
@pytest.mark.skipif(not ThreadTimes.there, reason="the system does not say how long a thread has run")
def test_limits_keep_other_threads_from_running(monkeypatch):
    monkeypatch.setattr(pace.Pace, "next", lambda run: (max(run.levels), None))  # whatever else the machine does
    X, y = make_data(512, 64, 10)
    model = make_net([64, 256, 256, 10], "relu")
    criterion, optimizer = fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.01)

    def train():
        fm.fit(model, criterion, optimizer, X, y, epochs=3, batch_size=256)

    for limits, expected in (({"limits": 3, "user_api": "fastmlp"}, 2), ({"limits": 1}, 0)):  # more wakes OpenBLAS's threads
        with threadpoolctl.threadpool_limits(**limits):
            assert ThreadTimes().taking_part(train, expected) == expected, limits


def test_threadpoolctl_is_told_when_it_is_imported():
    run_python(
        """
import importlib.util, inspect, sys
sys.modules["threadpoolctl"] = None  # as if it were not installed
import fastmlp as fm
before = fm.get_num_threads()
assert importlib.util.find_spec("threadpoolctl") is None
del sys.modules["threadpoolctl"]

path, sys.path = sys.path, []
assert importlib.util.find_spec("threadpoolctl") is None
sys.path = path

class AsksTheOthers:  # as fastmlp does
    def find_spec(self, name, path=None, target=None):
        if name == "threadpoolctl":
            return next(filter(None, (other.find_spec(name, path) for other in sys.meta_path if other is not self)))

sys.meta_path.insert(0, AsksTheOthers())
assert importlib.util.find_spec("threadpoolctl").origin  # and nobody has loaded it
assert "threadpoolctl" not in sys.modules
from threadpoolctl import threadpool_info, threadpool_limits
for again in (False, True):
    with threadpool_limits(1):
        assert fm.get_num_threads() == 1
    assert fm.get_num_threads() == before
    assert [info["user_api"] for info in threadpool_info()].count("fastmlp") == 1
    import threadpoolctl
    assert "def threadpool_info" in inspect.getsource(threadpoolctl)
    importlib.reload(threadpoolctl)
    from threadpoolctl import threadpool_info, threadpool_limits
"""
    )


def test_threadpoolctl_that_is_there_is_told_at_once():
    run_python(
        """
import threadpoolctl
import fastmlp as fm
with threadpoolctl.threadpool_limits(1):
    assert fm.get_num_threads() == 1
"""
    )


def test_versions_that_take_no_controllers_are_left_alone():
    threadpools._register(SimpleNamespace(LibController=object))
