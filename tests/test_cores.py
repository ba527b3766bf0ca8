from __future__ import annotations

import os
import sys
import threading

import numpy as np
import pytest
from helpers import ThreadTimes, make_data, make_net

import fastmlp as fm
from fastmlp import cores as cores_file
from fastmlp.cores import cores, free_cores, hardware_cores
from fastmlp.team import team_size
from fastmlp.training import pace

pytestmark = pytest.mark.usefixtures("eight_cores")

LIMITS = ("FASTMLP_NUM_THREADS", "NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")


def test_cores_follow_the_affinity(monkeypatch):
    assert cores() == hardware_cores() == 8
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert cores() == hardware_cores() == 2
    monkeypatch.delattr(os, "sched_getaffinity")
    assert cores() == 8
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert cores() == 1


@pytest.mark.parametrize("name", LIMITS)
def test_cores_keep_each_limit_of_the_environment(name, monkeypatch):
    for text, expected in (("3", 3), (" 1 ", 1), ("8", 8), ("9", 8), ("9" * 5000, 8), ("003", 3), ("", 8), (" ", 8)):
        monkeypatch.setenv(name, text)
        assert cores() == expected, text
        assert hardware_cores() == 8


def test_cores_are_the_least_of_all_limits(monkeypatch):
    for name, text in zip(LIMITS, ("6", "5", "3", "4")):
        monkeypatch.setenv(name, text)
    assert cores() == 3
    monkeypatch.setenv("FASTMLP_NUM_THREADS", "2")
    assert cores() == 2
    monkeypatch.setattr(cores_file, "_quota", lambda _: 1)
    assert cores() == hardware_cores() == 1


def test_cores_take_the_first_number_of_a_list(monkeypatch):
    for text, expected in (("4,2", 4), ("2, 8", 2), (",2", 8), ("x,2", 8)):
        monkeypatch.setenv("OMP_NUM_THREADS", text)
        assert cores() == expected, text


def test_cores_ignore_nonsense_in_the_variables_of_others(monkeypatch):
    for name in LIMITS[1:]:
        for text in ("0", "-1", "1.5", "many", "1e1", "٣", "²", "+2", "1_0"):
            monkeypatch.setenv(name, text)
            assert cores() == 8, (name, text)
        monkeypatch.delenv(name)


def test_cores_reject_nonsense_in_our_variable_when_it_is_first_needed(monkeypatch):
    for text in ("0", "-1", "1.5", "many", "4,2", "٣"):
        monkeypatch.setenv("FASTMLP_NUM_THREADS", text)
        with pytest.raises(ValueError, match="FASTMLP_NUM_THREADS must be a whole number of at least 1; got '"):
            cores()
        with pytest.raises(ValueError, match="FASTMLP_NUM_THREADS"):
            team_size(None, 10**9, 100)
        assert team_size(None, 0, 100) == 1  # one thread whatever it says
        assert team_size(2, 10**9, 100) == 2


def test_set_num_threads_is_the_limit_instead_of_the_environment(monkeypatch):
    monkeypatch.setenv("OMP_NUM_THREADS", "2")
    monkeypatch.setenv("FASTMLP_NUM_THREADS", "3")
    assert fm.get_num_threads() == cores() == 2
    for n, expected in ((1, 1), (5, 5), (8, 8), (9, 8), (2**62, 8), (np.int8(4), 4)):
        fm.set_num_threads(n)
        assert fm.get_num_threads() == cores() == team_size(None, 10**9, 100) == expected
        assert team_size(6, 10**9, 100) == 6, "who says how many has them"
    monkeypatch.setenv("FASTMLP_NUM_THREADS", "nonsense")
    assert fm.get_num_threads() == 4, "nobody asks the environment any more"
    monkeypatch.setattr(cores_file, "_quota", lambda _: 2)
    assert fm.get_num_threads() == 2
    monkeypatch.setattr(cores_file, "_quota", lambda _: None)
    assert fm.get_num_threads() == 4


def test_set_num_threads_rejects_what_is_no_number_and_leaves_the_limit():
    fm.set_num_threads(3)
    for wrong in (0, -1, 2**62 + 1):
        with pytest.raises(ValueError, match=r"^the number of threads must be at (least 1|most 2\*\*62); got -?\d+$"):
            fm.set_num_threads(wrong)
    for wrong in (None, True, 1.5, 2.0, "2", [2]):
        with pytest.raises(TypeError, match=r"^the number of threads must be a whole number; got "):
            fm.set_num_threads(wrong)
    assert fm.get_num_threads() == 3


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no forked children here")
@pytest.mark.filterwarnings("ignore:.*multi-threaded:DeprecationWarning")
def test_set_num_threads_holds_on_other_threads_and_in_a_forked_child():
    fm.set_num_threads(3)
    child = os.fork()
    if child == 0:
        os._exit(fm.get_num_threads())
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 3
    other = threading.Thread(target=fm.set_num_threads, args=(5,))
    other.start()
    other.join()
    assert fm.get_num_threads() == 5


@pytest.mark.once
@pytest.mark.alone
@pytest.mark.skipif(not ThreadTimes.there, reason="the system does not say how long a thread has run")
def test_calls_have_no_more_threads_than_the_limit(monkeypatch):
    """By what the system says: no other thread runs under a limit of 1, as many as are asked for do beyond it."""
    monkeypatch.setattr(pace.Pace, "next", lambda run: (max(run.levels), None))  # whatever else the machine does
    X, y = make_data(512, 64, 10)
    rows, labels = np.tile(X, (20, 1)), np.tile(y, 20)
    model, criterion = make_net([64, 256, 256, 10], "relu"), fm.CrossEntropyLoss()
    optimizer = fm.SGD(model.parameters(), lr=0.01)
    many = [make_net([64, 64, 10], rng=i) for i in range(6)]
    optimizers = [fm.SGD(one.parameters(), lr=0.01) for one in many]
    calls = {
        "fit": lambda **how: fm.fit(model, criterion, optimizer, X, y, epochs=3, batch_size=256, **how),
        "fit_many": lambda **how: fm.fit_many(many, criterion, optimizers, X, y, epochs=10, batch_size=128, **how),
        "predict": lambda **how: model.predict(rows, **how),
        "evaluate": lambda **how: fm.evaluate(model, criterion, rows, labels, **how),
        "jacobian": lambda **how: fm.jacobian(model, rows[:2000], **how),
    }
    for name, call in calls.items():
        call()  # compiled
        for limit, how, expected in ((3, {}, 2), (1, {"threads": 2}, 1), (1, {}, 0)):
            fm.set_num_threads(limit)
            assert ThreadTimes().taking_part(lambda: call(**how), expected) == expected, (name, limit, how)  # noqa: B023


@pytest.mark.once
@pytest.mark.alone
@pytest.mark.skipif(not ThreadTimes.there, reason="the system does not say how long a thread has run")
def test_a_run_follows_the_limit(monkeypatch):
    monkeypatch.setattr(pace.Pace, "next", lambda run: (max(run.levels), None))  # whatever else the machine does
    X, y = make_data(2000, 64, 10)
    model = make_net([64, 256, 256, 10], "relu")
    times, seen = ThreadTimes(), []

    def note(epoch, history):
        seen.append(times.busy())
        fm.set_num_threads(1 if 20 <= epoch < 30 else 5)

    fm.set_num_threads(2)
    options = {"epochs": 50, "batch_size": 250, "callbacks": note}
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.01), X, y, **options)
    assert max(seen[:20]) == max(seen[30:]) == 1, "down at once, and up to the two threads that it began with"
    assert max(seen[21:30]) == 0, seen


# What follows reads folders that are laid out as Linux does.


class System:
    """Where the files of a process and its cgroups would be."""

    def __init__(self, folder):
        self.folder, self.process = folder, folder / "proc"
        self.process.mkdir()
        self.mounts = []

    def mount(self, name, kind, options, root="/"):
        top = self.folder / name
        top.mkdir()
        escaped = str(top).replace(" ", "\\040")
        self.mounts.append(f"30 23 0:26 {root} {escaped} rw,nosuid shared:4 - {kind} cgroup {options}\n")
        (self.process / "mountinfo").write_text("".join(self.mounts))
        return top

    def quota(self, cgroup):
        (self.process / "cgroup").write_text(cgroup)
        return cores_file._quota.__wrapped__(str(self.process))


@pytest.fixture
def system(tmp_path, monkeypatch):
    if sys.platform == "win32":
        pytest.skip("paths of Linux")
    monkeypatch.undo()  # the quota that is read, not the one that eight_cores has put in its place
    return System(tmp_path)


def write(folder, **files):
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)


def test_quota_of_cgroup_v2_is_rounded_up(system):
    top = system.mount("cgroup", "cgroup2", "rw,nsdelegate")
    for text, expected in (
        ("max 100000\n", None),
        ("100000 100000\n", 1),
        ("150000 100000\n", 2),
        ("1000 100000\n", 1),
        ("350000 50000\n", 7),
        ("200001 100000\n", 3),
        ("0 100000\n", None),
        ("100000 0\n", None),
        ("max\n", None),
        ("", None),
        ("nonsense nonsense", None),
    ):
        write(top / "user.slice/job", cpu__max=text)
        assert system.quota("0::/user.slice/job\n") == expected, text


def test_quota_of_cgroup_v2_is_the_least_on_the_way_up(system):
    top = system.mount("cgroup with space", "cgroup2", "rw")
    write(top / "a/b/c", cpu__max="max 100000")
    assert system.quota("0::/a/b/c\n") is None
    write(top / "a", cpu__max="300000 100000")
    assert system.quota("0::/a/b/c\n") == 3
    write(top / "a/b", cpu__max="500000 100000")
    assert system.quota("0::/a/b/c\n") == 3
    write(top / "a/b/c", cpu__max="200000 100000")
    assert system.quota("0::/a/b/c\n") == 2
    assert system.quota("0::/a/b\n") == 3
    assert system.quota("0::/elsewhere\n") is None
    write(top, cpu__max="100000 100000")
    assert system.quota("0::/a/b/c\n") == 1


def test_quota_of_cgroup_v1(system):
    other = system.mount("memory", "cgroup", "rw,memory")
    top = system.mount("cpu,cpuacct", "cgroup", "rw,cpu,cpuacct")
    unified = system.mount("unified", "cgroup2", "rw")
    cgroup = "5:memory:/mem\n4:cpu,cpuacct:/docker/abc\n3:cpuset:/x\n1:name=systemd:/y\n0::/z\n"
    write(other / "mem", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")  # another controller's folder
    write(unified / "z")
    write(top, cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    write(top / "docker/abc", cpu__cfs_quota_us="-1\n", cpu__cfs_period_us="100000\n")
    assert system.quota(cgroup) is None
    write(top / "docker/abc", cpu__cfs_quota_us="250000\n")
    assert system.quota(cgroup) == 3
    write(top / "docker", cpu__cfs_quota_us="100000\n", cpu__cfs_period_us="50000\n")
    assert system.quota(cgroup) == 2
    (top / "docker/cpu.cfs_period_us").unlink()
    assert system.quota(cgroup) == 3


def test_quota_in_a_container_that_sees_the_paths_of_its_host(system):
    top = system.mount("cgroup", "cgroup", "rw,cpu", root="/docker/abc")
    write(top, cpu__cfs_quota_us="200000", cpu__cfs_period_us="100000")
    write(top / "inner", cpu__cfs_quota_us="100000", cpu__cfs_period_us="100000")
    for path, expected in (("/docker/abc", 2), ("/docker/abc/inner", 1), ("/docker/other", 2), ("/", 2), ("/../x", 2)):
        assert system.quota(f"4:cpu:{path}\n") == expected, path


def test_quota_that_cannot_be_read_is_none(system, tmp_path):
    assert cores_file._quota.__wrapped__(str(tmp_path / "no such folder")) is None
    assert system.quota("0::/\n") is None  # no mountinfo
    write(system.process, mountinfo="nonsense\n\n30 23 0:26 / /x rw - \n30 23 - cgroup2 cgroup rw\n")
    assert system.quota("0::/\n\nnonsense\n::\n") is None
    top = system.mount("cgroup", "cgroup2", "rw")
    (top / "cpu.max").mkdir()  # not a file
    assert system.quota("0::/\n") is None


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_quota_is_read_once_and_again_in_a_forked_child(system, monkeypatch):
    top = system.mount("cgroup", "cgroup2", "rw")
    write(system.process, cgroup="0::/\n")
    write(top, cpu__max="300000 100000")
    monkeypatch.setattr(cores_file, "PROCESS", str(system.process))
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)), raising=False)
    cores_file._quota.cache_clear()
    try:
        assert hardware_cores() == 3
        write(top, cpu__max="200000 100000")
        assert hardware_cores() == 3
        child = os.fork()
        if child == 0:
            os._exit(hardware_cores())
        assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 2
    finally:
        cores_file._quota.cache_clear()


@pytest.mark.once
@pytest.mark.parametrize(
    ("text", "own", "free"),
    [
        ("0.20 0.18 0.12 1/80 11206", 1, 8),
        ("0.20 0.18 0.12 2/80 11206", 2, 8),  # a thread of ours that spins is not somebody else
        ("0.20 0.18 0.12 3/80 11206", 1, 6),
        ("0.20 0.18 0.12 1/80 11206", 2, 8),  # it has just gone to sleep
        ("9.00 9.00 9.00 40/80 11206", 1, 1),
        ("0.00 0.00 0.00 0/0 0", 1, None),  # of a system that only plays Linux
        ("nonsense", 1, None),
        ("", 1, None),
    ],
)
def test_free_cores_are_those_that_nobody_else_wants(text, own, free, monkeypatch, tmp_path):
    file = tmp_path / "loadavg"
    file.write_text(text)
    monkeypatch.setattr(cores_file, "LOAD", file)
    monkeypatch.setattr(os, "sysconf", lambda name: {"SC_NPROCESSORS_ONLN": 8}[name], raising=False)
    assert free_cores(own) == free
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {3, 5}, raising=False)
    assert free_cores(own) is None  # who runs may be held to the others
    monkeypatch.delattr(os, "sched_getaffinity")
    assert free_cores(own) is None
    monkeypatch.setattr(cores_file, "LOAD", tmp_path / "none")
    assert free_cores(own) is None
