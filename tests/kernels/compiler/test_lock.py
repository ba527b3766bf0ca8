"""The lock between processes: it keeps others out, and nothing makes it stay."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import pytest

from fastmlp.kernels.compiler import lock
from fastmlp.kernels.compiler.lock import Lock

pytestmark = pytest.mark.once

HOLD = """
import sys, time
from pathlib import Path
from fastmlp.kernels.compiler.lock import Lock
Lock.kept = Lock(Path(sys.argv[1]))
Lock.kept.acquire()
print("held", flush=True)
time.sleep(100)
"""


@pytest.fixture
def path(tmp_path):
    return tmp_path / "a.lock"


def holder(path):
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(path)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "held\n"
    return process


def test_lock_is_free_again_after_release(path):
    for _ in range(3):
        one = Lock(path)
        assert not one.acquire()
        one.release()
        one.release()


def test_lock_that_somebody_holds_is_not_waited_for(path):
    one, other = Lock(path), Lock(path)
    assert one.acquire_now()
    assert not other.acquire_now()
    one.release()
    assert other.acquire_now()
    other.release()
    assert not Lock(path / "nowhere").acquire_now()


def test_lock_keeps_others_waiting(path):
    one, other, waited = Lock(path), Lock(path), []
    assert not one.acquire()

    def wait():
        waited.append(True)
        threading.Timer(0.1, one.release).start()

    began = time.monotonic()
    assert other.acquire(wait)
    assert waited == [True]
    assert time.monotonic() - began >= 0.1
    other.release()


def test_process_that_is_killed_lets_go(path):
    process = holder(path)
    other = Lock(path)
    assert other.acquire(lambda: process.send_signal(signal.SIGTERM if os.name == "nt" else signal.SIGKILL))
    other.release()
    process.communicate()


def test_nobody_waits_for_ever(path, monkeypatch):
    monkeypatch.setattr(lock, "LIMIT_SECONDS", 0.05)
    one, other = Lock(path), Lock(path)
    one.acquire()
    assert other.acquire()  # returns, without it
    other.release()
    third = Lock(path)
    assert third.acquire()  # which has not taken it from its holder
    third.release()
    one.release()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
def test_forked_child_does_not_keep_it(path):
    one = Lock(path)
    one.acquire()
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:  # waits, with the file open, until the parent has seen that the lock is free
        os.close(writer)
        os.read(reader, 1)
        os._exit(0)
    one.release()
    other = Lock(path)
    assert not other.acquire()
    other.release()
    os.close(writer)
    os.close(reader)
    assert os.waitpid(child, 0)[1] == 0


def test_lock_that_another_user_has_made_is_kept_too(path, monkeypatch):
    path.touch()
    opened, plain = [], type(path).open

    def refuse(self, mode="r", *more):
        opened.append(mode)
        if mode != "rb":
            raise PermissionError(13, "Permission denied")
        return plain(self, mode, *more)

    monkeypatch.setattr(type(path), "open", refuse)
    monkeypatch.setattr(lock, "LIMIT_SECONDS", 0.05)
    one, other = Lock(path), Lock(path)
    assert not one.acquire()
    assert other.acquire()
    assert opened == ["ab", "rb"] * 2
    other.release()
    one.release()


def test_where_there_are_no_locks_nobody_waits(path, monkeypatch):
    def nobody_waits(path):
        locks = [Lock(path), Lock(path)]
        assert [one.acquire() for one in locks] == [False, False]
        for one in locks:
            one.release()

    nobody_waits(path / "not" / "there")

    def refuse(file):
        raise OSError(37, "No locks available")

    monkeypatch.setattr(lock, "_try", refuse)
    nobody_waits(path)
