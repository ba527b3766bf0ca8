"""The second process that compiles: when it is started, what it is told, and what it does."""

from __future__ import annotations

import importlib
import io
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers import jit_only

import fastmlp as fm
from fastmlp import beside
from fastmlp.kernels.block import Block
from fastmlp.kernels.blocks.linear import _linear
from fastmlp.kernels.blocks.moves import _input
from fastmlp.kernels.compiler.lock import Lock
from fastmlp.warmup import _ops

pytestmark = pytest.mark.once

F32 = np.dtype(np.float32)


class Pipe(io.StringIO):
    """Keeps what was written when it is closed."""

    def close(self):
        self.written = self.getvalue()
        super().close()


class Process:
    """Stands for a process that has been started."""

    def __init__(self, command, **_):
        self.command, self.stdin = command, Pipe()

    def wait(self):
        while not self.stdin.closed:
            time.sleep(0.001)


@pytest.fixture
def started(monkeypatch, tmp_path):
    """What has been started, where nothing is cached and there are two cores."""
    processes = []
    monkeypatch.setattr(beside, "_begun", set())
    monkeypatch.setattr(beside, "_waiting", {})
    monkeypatch.setattr(beside, "cores", lambda: 2)
    monkeypatch.setattr(beside, "engine_is_cached", lambda dtype: False)

    def folder_lock(name):
        lock = Lock(tmp_path / name)
        return lock if lock.acquire_now() else None

    monkeypatch.setattr(beside, "folder_lock", folder_lock)
    monkeypatch.setattr(subprocess, "Popen", lambda *args, **options: processes.append(Process(*args)) or processes[-1])
    return processes


def test_a_process_is_told_the_blocks_of_a_program(started):
    beside.begin(F32)
    beside.begin(F32)
    (process,) = started
    assert process.command[:3] == [sys.executable, "-S", "-c"]
    assert process.command[4:6] == ["float32", str(Path(fm.__file__).parent)]
    pipe = process.stdin
    beside.ask([_input, _linear, _linear], F32)
    assert pipe.closed
    assert pipe.written == "fastmlp.kernels.blocks.moves:_input\nfastmlp.kernels.blocks.linear:_linear\n"
    beside.ask([_input], F32)
    assert len(started) == 1, "one for each dtype"


def test_a_forward_pass_starts_it_too(started):
    fm.Sequential(fm.Linear(1, 1))(np.ones((1, 1)))
    (process,) = started
    assert "fastmlp.kernels.blocks.moves:_input" in process.stdin.written


def test_one_process_at_a_time_uses_a_cache(started):
    beside.begin(F32)
    beside.begin(np.dtype(np.float64))
    assert len(started) == 1
    beside.ask([], F32)
    end = time.monotonic() + 10
    while (lock := beside.folder_lock("beside")) is None and time.monotonic() < end:
        time.sleep(0.001)
    assert lock is not None, "it is let go when the process has ended"
    lock.release()


@pytest.mark.parametrize(
    ("what", "value"),
    [
        ("cores", lambda: 1),
        ("engine_is_cached", lambda dtype: True),
        ("can_start_threads", lambda: False),  # green ones would wait for it instead of this one
        ("sys.executable", None),
        ("sys.executable", "/opt/blender/blender"),
        ("sys.frozen", True),
    ],
)
def test_there_is_none_where_it_would_not_pay_or_not_be_python(started, monkeypatch, what, value):
    if what.startswith("sys."):
        monkeypatch.setattr(sys, what[4:], value, raising=False)
    else:
        monkeypatch.setattr(beside, what, value)
    beside.begin(F32)
    beside.ask([_input], F32)
    assert not started


def test_a_system_without_processes_is_no_error(started, monkeypatch):
    def refuse(*_, **__):
        raise OSError("no more processes")

    monkeypatch.setattr(subprocess, "Popen", refuse)
    beside.begin(F32)
    beside.ask([_input], F32)
    lock = beside.folder_lock("beside")
    assert lock is not None
    lock.release()


def test_a_process_that_has_ended_is_no_error(started):
    beside.begin(F32)
    (process,) = started

    def broken(_):
        raise BrokenPipeError

    process.stdin.writelines = broken
    beside.ask([_input], F32)


def test_paths_lead_to_their_blocks():
    """But for those of formulas, which may be anybody's."""
    blocks = {op.block for op in _ops(F32)}
    named = {block.path: block for block in blocks if block.path is not None}
    assert {"fastmlp.kernels.blocks.linear:_linear", "fastmlp.kernels.blocks.cross_entropy:_cross_entropy"} <= named.keys()
    for path, block in named.items():
        module, _, name = path.partition(":")
        assert getattr(importlib.import_module(module), name) is block
    formulas = [block for block in blocks if block.passes and isinstance(block, Block)]
    assert formulas
    assert all(block.path is None for block in formulas)


@jit_only
def test_the_process_compiles_what_it_is_told():
    """It loads here what is in the cache, and imports no more than it needs."""
    show = """
import os
from fastmlp.kernels.compiler import jit
os._exit = lambda code: print(code, *(entry.name for entry in jit.history), "fastmlp.modules" in sys.modules)
serve(dtype)
"""
    command = [sys.executable, "-S", "-c", beside.PROGRAM.replace("serve(dtype)\n", show), "float32"]
    command += [str(Path(fm.__file__).parent), *sys.path]
    told = "fastmlp.kernels.blocks.moves:_input\n"
    said = subprocess.run(command, input=told, capture_output=True, text=True, timeout=60, check=True)
    assert said.stdout.split() == ["0", "engine.run", "input", "False"]
    assert not said.stderr
