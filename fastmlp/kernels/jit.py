"""The one door to ``numba.njit``: the flags, with their reasons, and where machine code is cached."""

from __future__ import annotations

import hashlib
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar, TypeVar

import llvmlite
import numba
import numpy as np
from numba.core import event

__all__ = ["announced", "cache_folder", "inner", "instead", "kernel"]

F = TypeVar("F", bound=Callable)

# nogil        threads of one training run, and of a user's program, run kernels at the same time.
# error_model  "numpy": a division by zero gives inf or nan; a kernel never raises.
# fastmath     off. Reassociation and contraction depend on the code around an expression, so the same line could round
#              differently in an eager kernel and inside the engine; the promise that both agree bitwise forbids it.
#              Where a fused multiply-add pays it is written: intrinsics.muladd.
FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": False}


def _user_cache() -> Path:
    """The folder that the operating system sets aside for caches (``NUMBA_CACHE_DIR`` wins)."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _fingerprint() -> str:
    """A hash of every kernel source and of the compiler's versions.

    Numba's own cache looks at the file of the entry point alone: after a change in a callee it would run stale code.
    """
    digest = hashlib.sha256()
    for source in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(source.name.encode() + b"\0" + source.read_bytes() + b"\0")
    for version in (numba.__version__, llvmlite.__version__, np.__version__, sys.version):
        digest.update(version.encode() + b"\0")
    return digest.hexdigest()[:16]


def _writable_cache_folder() -> str:
    try:
        folder = _user_cache() / "fastmlp" / _fingerprint()
        folder.mkdir(parents=True, exist_ok=True)
    except (OSError, RuntimeError):  # read-only home, or no home at all
        return ""
    return str(folder) if os.access(folder, os.W_OK) else ""


#: Where machine code of this version of the kernels lies; empty where nothing can be written: then nothing is cached.
cache_folder: str = _writable_cache_folder()


def inner(function: F) -> F:
    """Compile a function that only other kernels call; its code is part of theirs, so it is not cached by itself.

    It cannot be called from Python: the two wrappers for that would be a third of its compile time.
    """
    return numba.njit(**FLAGS, no_cpython_wrapper=True, no_cfunc_wrapper=True)(function)


def instead(compiled: Callable) -> Callable[[F], F]:
    """Decorate the plain-Python twin of an intrinsic: compiled callers get the intrinsic, Python the twin.

    Decided here, once, by whether the JIT is on. ``@overload`` would decide at each call's compilation, through a function
    of its own between caller and intrinsic that costs 70 ms to compile, some thirty times.
    """
    return lambda twin: twin if numba.config.DISABLE_JIT else compiled  # type: ignore[return-value]


def kernel(function: F) -> F:
    """Compile an entry point, lazily, once per machine: what Python calls."""
    if numba.config.DISABLE_JIT:  # machine code does not warn where a number overflows; plain Python shall not either
        return np.errstate(all="ignore")(function)
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = cache_folder  # Numba chooses the place while it decorates
    try:
        return numba.njit(**FLAGS, cache=bool(cache_folder))(function)
    finally:
        numba.config.CACHE_DIR = before


class _Announcer(event.Listener):
    """Says on standard error, once a process, that a long compilation has begun."""

    functions: ClassVar[set[Callable]] = set()
    said = False

    def on_start(self, event):
        function = event.data["dispatcher"].py_func
        if function in self.functions and not self.said:
            self.said = True
            once = "once on this machine" if cache_folder else "again in each process, since no cache folder can be written"
            print(f"fastmlp: compiling kernels for this processor, some ten seconds, {once} ...", file=sys.stderr, flush=True)

    def on_end(self, event):
        """Nothing to say."""


event.register("numba:compile", _Announcer())


def announced(dispatcher: F) -> F:
    """Decorate a kernel whose compilation takes long enough to be announced (machine code from the cache is not)."""
    _Announcer.functions.add(getattr(dispatcher, "py_func", dispatcher))
    return dispatcher
