"""How many cores this process may use: affinity, cgroup quota, limits by call and by environment."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path, PurePosixPath

from fastmlp import checks

__all__ = ["OUR_LIMIT", "cores", "free_cores", "get_num_threads", "hardware_cores", "set_num_threads"]

#: The variable that limits the threads of fastmlp alone.
OUR_LIMIT = "FASTMLP_NUM_THREADS"

#: Variables that limit the threads of others, which we keep too: who runs 8 processes side by side sets one of these, not ours.
OTHER_LIMITS = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS", "LOKY_MAX_CPU_COUNT")

#: What :func:`set_num_threads` has said: one number, or none yet.
limit: list[int] = []

#: Where Linux tells the cgroups of this process, and where they are mounted.
PROCESS = "/proc/self"

#: Where Linux tells how many threads want to run: "0.20 0.18 0.12 1/80 11206", of which 1.
LOAD = Path("/proc/loadavg")


def set_num_threads(n: int) -> None:
    """Let a call take at most `n` threads where it is not told how many: the limit of ``threads=None`` and ``n_threads=None``.

    It holds for the whole process, from the next call on, on whatever thread that is: of :func:`fastmlp.fit`,
    :func:`fastmlp.evaluate`, ``predict``, :func:`fastmlp.jacobian`, :func:`fastmlp.fit_many` (networks at the same time) and
    of the estimators. An explicit ``threads=`` is more particular, and wins. Results do not depend on the number of threads.

    Parameters
    ----------
    n : int
        At least 1. Of more than there are cores, the cores are taken: more threads would only wait for each other.

    Raises
    ------
    TypeError, ValueError
        If `n` is not a whole number from 1 to 2**62.

    See Also
    --------
    get_num_threads : the number that is taken at most.

    Notes
    -----
    Until the first call the environment says the limit: the least of ``FASTMLP_NUM_THREADS``, ``NUMBA_NUM_THREADS``,
    ``OMP_NUM_THREADS`` and ``LOKY_MAX_CPU_COUNT``. From then on the variables count no more, so `n` may be above them.

    A run of ``fit`` that is under way follows the limit down within some hundredths of a second, and up to the number of
    threads that it began with. A forked child has the limit of its parent. Other new processes (``spawn``, the workers of
    joblib) have that of their environment; joblib's share the cores between them by ``OMP_NUM_THREADS``.

    Where threadpoolctl is installed (3.2 or newer), ``threadpool_limits`` sets this limit with those of other libraries, or
    alone with ``user_api="fastmlp"``, and ``threadpool_info`` shows it.

    Examples
    --------
    >>> import fastmlp as fm
    >>> before = fm.get_num_threads()
    >>> fm.set_num_threads(1)  # 8 of these programs run side by side
    >>> fm.get_num_threads()
    1
    >>> fm.set_num_threads(before)
    """
    limit[:] = [checks.as_size(n, "the number of threads")]


def get_num_threads() -> int:
    """How many threads a call takes at most, where ``threads=`` does not say: the cores there are, or the limit below that.

    Returns
    -------
    int
        At least 1. The least of the cores that the system gives this process (affinity, quota of its cgroup) and what
        :func:`set_num_threads` has said, or, before that, the environment.

    Raises
    ------
    ValueError
        If ``FASTMLP_NUM_THREADS`` is to say it, and is not a whole number of at least 1.

    Examples
    --------
    >>> import fastmlp as fm
    >>> fm.get_num_threads() >= 1
    True
    """
    return cores()


def cores() -> int:
    """The cores that this process may use.

    The least of :func:`hardware_cores` and what :func:`set_num_threads` has said, or else the limits in the environment:
    ``FASTMLP_NUM_THREADS``, ``NUMBA_NUM_THREADS``, ``OMP_NUM_THREADS`` (the first number of a list such as ``4,2``), and
    ``LOKY_MAX_CPU_COUNT``.

    Returns
    -------
    int
        At least 1.

    Raises
    ------
    ValueError
        If ``FASTMLP_NUM_THREADS`` is set, not empty, and not a whole number of at least 1. The same in another's variable is
        ignored: what it means is not for us to say.

    Notes
    -----
    No variable raises the number, ``FASTMLP_NUM_THREADS`` neither: the least counts, so that a limit set around a program
    cannot be lifted by a variable further in. More threads are to be had by :func:`set_num_threads`, and by the argument
    ``threads=``, which no limit concerns.

    Affinity and environment are read at each call, 3 us; the quota once for each process.
    """
    least = hardware_cores()
    if limit:
        return min(least, *limit)
    own = os.environ.get(OUR_LIMIT)
    if own and own.strip():
        most = _whole_number(own)
        if most is None:
            raise ValueError(f"the environment variable {OUR_LIMIT} must be a whole number of at least 1; got {own!r}")
        least = min(least, most)
    for name in OTHER_LIMITS:
        text = os.environ.get(name)
        if text is not None:
            least = min(least, _whole_number(text.partition(",")[0]) or least)
    return least


def hardware_cores() -> int:
    """The cores that the system gives this process: the least of its affinity and its cgroup's quota; at least 1."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return min(count, _quota(PROCESS) or count)


def free_cores(own: int) -> int | None:
    """The cores of the machine that nobody wants to run on but `own` threads of ours, at least 1; in 15 us.

    None where the system doesn't say: elsewhere than on Linux; and where affinity holds us to some of its cores, and others may
    be held to the rest.
    """
    if not hasattr(os, "sched_getaffinity"):
        return None
    fields, online = _read(LOAD).split(), os.sysconf("SC_NPROCESSORS_ONLN")
    running = _number(fields[3].partition("/")[0]) if len(fields) > 3 else 0
    if running < 1 or len(os.sched_getaffinity(0)) != online:  # who reads it runs: 0 is said by a system that doesn't count
        return None
    return max(1, online - max(0, running - own))


def _whole_number(text: str) -> int | None:
    """A whole number of at least 1, in plain digits; else None. One too long for ``int`` is a very large one."""
    text = text.strip()
    if not (text.isascii() and text.isdigit()):
        return None
    return int(text[-18:]) or None if not text[:-18].strip("0") else 10**18


@lru_cache(maxsize=1)
def _quota(process: str) -> int | None:
    """The CPU quota of the cgroups of a process, in whole cores, rounded up; None where there is none that can be read.

    A container is given, say, 1.5 cores of 64: its threads may run on all 64, until they have used up 1.5 times the length of
    a period (100 ms), and are then all stopped until the next period.
    """
    least = None
    for directory in _cgroup_directories(Path(process)):
        for quota, period in (_read_v2(directory), _read_v1(directory)):
            if quota > 0 and period > 0:
                cores = -(-quota // period)
                least = cores if least is None else min(least, cores)
    return least


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_quota.cache_clear)  # a child may be put into another cgroup


def _cgroup_directories(process: Path) -> Iterator[Path]:
    """The folders of the cgroups that limit the CPU of a process, v1 and v2, from its own up to the root of each mount."""
    places = {}  # the path of the process's cgroup in each hierarchy
    for line in _read(process / "cgroup").splitlines():
        number, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        if number == "0" and not controllers:
            places["cgroup2"] = path
        elif "cpu" in controllers.split(","):
            places["cgroup"] = path
    for line in _read(process / "mountinfo").splitlines():
        mount, _, system = line.partition(" - ")
        fields, described = mount.split(), system.split()
        if len(fields) < 5 or len(described) < 3 or described[0] not in places:
            continue
        if described[0] == "cgroup" and "cpu" not in described[2].split(","):
            continue
        root, top = _unescaped(fields[3]), Path(_unescaped(fields[4]))
        parts = PurePosixPath(places[described[0]]).parts
        below = parts[len(PurePosixPath(root).parts) :] if PurePosixPath(*parts).is_relative_to(root) else ()
        if ".." in parts:  # outside the root of our cgroup namespace: only the mount's own limit can be seen
            below = ()
        for depth in range(len(below), -1, -1):
            yield top.joinpath(*below[:depth])


def _unescaped(path: str) -> str:
    r"""A path as mountinfo writes it, with ``\040`` for a space."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), path)


def _read_v2(directory: Path) -> tuple[int, int]:
    """Quota and period in us, of ``cpu.max``: "150000 100000", or "max 100000" for none."""
    fields = _read(directory / "cpu.max").split()
    return (_number(fields[0]), _number(fields[1])) if len(fields) == 2 else (0, 0)


def _read_v1(directory: Path) -> tuple[int, int]:
    """Quota and period in us; a quota of -1 is none."""
    return _number(_read(directory / "cpu.cfs_quota_us")), _number(_read(directory / "cpu.cfs_period_us"))


def _number(text: str) -> int:
    """A whole number; 0 for anything else."""
    return _whole_number(text) or 0


def _read(file: Path) -> str:
    """The text of a file; empty where it cannot be read."""
    try:
        return file.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
