"""A second process that compiles beside this one, so that a first `fit` waits for half of it.

Numba compiles under one lock, so a thread would not help. The process takes the engine first, then the blocks of the program
from the last on, while this process takes products, then the others from the input on; what it has compiled is in the cache,
and whoever comes second loads it, or waits for the lock on it, as processes that start together do anyway. Nothing depends on
it: where it can't be had, or ends early, this process compiles all.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections.abc import Iterable
from itertools import chain
from pathlib import Path

import numpy as np

from fastmlp.cores import cores
from fastmlp.kernels.block import Block
from fastmlp.kernels.compiler.cache import folder_lock
from fastmlp.kernels.compiler.jit import BusyError, announce_nothing, never_wait
from fastmlp.kernels.ready import compile_engine, engine_is_cached
from fastmlp.team import can_start_threads

__all__ = ["ask", "begin", "serve"]

#: Seconds after which such a process ends, whatever it does: nobody may have asked it for anything, after an error.
LIMIT_SECONDS = 60.0

#: What it runs: with the paths of this process, not those that Python would look for (``-S``), and with the part of the package
#: that it needs, not what `import fastmlp` brings; 0.1 s less until it begins.
PROGRAM = """
import sys, types
dtype, package, *sys.path[:] = sys.argv[1:]
sys.modules["fastmlp"] = fastmlp = types.ModuleType("fastmlp")
fastmlp.__path__ = [package]
from fastmlp.beside import serve
serve(dtype)
"""

#: The dtypes that have been looked at.
_begun: set[np.dtype] = set()

#: The processes that have not been asked yet.
_waiting: dict[np.dtype, subprocess.Popen] = {}


def begin(dtype: np.dtype) -> None:
    """Start the process, if the engine has never been compiled for this dtype and there is a core for it."""
    if dtype in _begun:
        return
    _begun.add(dtype)
    if cores() == 1 or not can_start_threads() or not _is_python(sys.executable) or engine_is_cached(dtype):
        return
    lock = folder_lock("beside")
    if lock is None:  # somebody else has one: eight processes that start together need no eight more
        return
    command = [sys.executable, "-S", "-c", PROGRAM, dtype.name, str(Path(__file__).parent), *sys.path]
    flags, nowhere = getattr(subprocess, "CREATE_NO_WINDOW", 0), subprocess.DEVNULL
    try:
        process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=nowhere, stderr=nowhere, text=True, creationflags=flags
        )
    except OSError:  # no processes here, or no more of them
        lock.release()
        return

    def watch() -> None:
        process.wait()
        lock.release()

    threading.Thread(target=watch, daemon=True).start()
    _waiting[dtype] = process


def ask(blocks: Iterable[Block], dtype: np.dtype) -> None:
    """Tell the process, if there is one, what a program consists of; then it ends when it has compiled that."""
    process = _waiting.pop(dtype, None)
    if process is None or process.stdin is None:
        return
    paths = [block.path for block in dict.fromkeys(blocks) if block.path is not None]
    try:
        with process.stdin as pipe:
            pipe.writelines(f"{path}\n" for path in paths)
    except OSError:  # it has ended
        return


def serve(dtype_name: str) -> None:
    """What the process does: compile the engine, then the blocks that it is told, but for what somebody else is at."""
    timer = threading.Timer(LIMIT_SECONDS, os._exit, (1,))
    timer.daemon = True
    timer.start()
    announce_nothing()
    never_wait()
    dtype = np.dtype(dtype_name)
    for path in chain([""], sys.stdin):
        try:
            if path:
                module, _, name = path.strip().partition(":")
                getattr(importlib.import_module(module), name).address(dtype)
            else:
                compile_engine(dtype)
        except BusyError:
            continue
    os._exit(0)  # at once: there is nothing to be taken down


def _is_python(executable: str | None) -> bool:
    """Whether that is an interpreter: a frozen or embedding program would start itself."""
    return bool(executable) and not getattr(sys, "frozen", False) and Path(executable or "").stem.startswith("python")
