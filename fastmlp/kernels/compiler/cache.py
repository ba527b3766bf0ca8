"""Where machine code lies between processes: one file for each entry point and signature, in a folder of this version.

Numba's own cache looks at the file of the entry point alone: after a change in a callee it would run stale code. It also
keeps one index for all signatures of a function; two processes that add to it at once can leave a float32 caller with float64
code. Here a file's name says all that its content depends on, so nothing has to agree with anything else.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import llvmlite
import numba
import numpy as np

from fastmlp.kernels.compiler.lock import Lock
from fastmlp.kernels.compiler.numba_private import DispatcherCache
from fastmlp.kernels.compiler.processor import FEATURES, PROCESSOR, TRIPLE
from fastmlp.kernels.compiler.say import say

__all__ = ["CacheFile", "KernelCache", "cache_folder", "cache_is_writable", "folder_lock", "prune"]

#: A folder of another version is removed when nothing in it has been read or written for so long.
KEEP_DAYS = 30

#: The folders of the package whose sources end up in machine code: kernels, and the formulas of layers, losses, optimizers.
COMPILED_FROM = ("kernels", "modules", "criterion", "optim")

#: Bytes of the check sum that a cache file begins with.
CHECK_BYTES = 32


def _user_cache() -> Path:
    """The folder that the operating system sets aside for caches (``NUMBA_CACHE_DIR`` wins)."""
    if os.environ.get("NUMBA_CACHE_DIR"):
        return Path(os.environ["NUMBA_CACHE_DIR"])
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA", Path.home() / "AppData" / "Local"))
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")


def _sources(folder: str) -> Iterator[str]:
    """The files of Python in a folder and in those below."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                yield entry.path
            elif entry.is_dir():
                yield from _sources(entry.path)


def _fingerprint() -> str:
    """A hash of all sources that are compiled, the compiler's versions and its settings; empty without sources.

    160 files: 0.3 ms to find them, 2 to read them; with pathlib it was 18 as Python starts.
    """
    digest = hashlib.sha256()
    package = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    sources = sorted(source for folder in COMPILED_FROM for source in _sources(os.path.join(package, folder)))
    for source in sources:
        with open(source, "rb", buffering=0) as file:
            name = source[len(package) + 1 :].replace(os.sep, "/")
            digest.update(name.encode() + b"\0" + file.read() + b"\0")
    config = numba.config
    settings = config.OPT, config.LOOP_VECTORIZE, config.SLP_VECTORIZE, config.BOUNDSCHECK, config.DEBUGINFO_DEFAULT
    for fact in (numba.__version__, llvmlite.__version__, np.__version__, sys.version, settings):
        digest.update(str(fact).encode() + b"\0")
    return digest.hexdigest()[:16] if sources else ""


def _place() -> tuple[str, bool]:
    """The folder for machine code of this version, empty if there can be none, and whether something can be added to it."""
    try:
        fingerprint = _fingerprint()
        if not fingerprint:
            return "", False
        folder = _user_cache().absolute() / "fastmlp" / fingerprint  # whoever changes the directory later stays with this one
        with contextlib.suppress(OSError):
            folder.mkdir(parents=True, exist_ok=True)
        if not folder.is_dir():
            return "", False
        return str(folder), os.access(folder, os.W_OK)
    except (OSError, RuntimeError):  # no home at all, or no current directory
        return "", False


#: Where machine code of this version of the kernels lies, to be read at least; empty where there is none and none can be kept.
cache_folder: str

#: Whether what is compiled can be kept there.
cache_is_writable: bool

cache_folder, cache_is_writable = _place()


def _check_sum(name: str, payload: bytes) -> bytes:
    """What a file of this name and content begins with; the name counts, so a file that was renamed is nobody's."""
    return hashlib.sha256(name.encode() + b"\0" + payload).digest()


def prune(folder: Path, days: float = KEEP_DAYS) -> None:
    """Remove the other versions' folders beside `folder` that have not been used for so many days.

    Safe at any time: whoever finds a file missing compiles, and whoever writes makes the folder anew.
    """
    with contextlib.suppress(OSError):
        for other in folder.parent.iterdir():
            if other.name != folder.name and re.fullmatch("[0-9a-f]{16}", other.name) and not other.is_symlink():
                with contextlib.suppress(OSError):  # another process was faster
                    if time.time() - other.stat().st_mtime > days * 86400:
                        shutil.rmtree(other, ignore_errors=True)


def folder_lock(name: str) -> Lock | None:
    """A lock of the folder, held, or None where somebody else holds it."""
    lock = Lock(Path(cache_folder) / f"{name}.lock")
    return lock if lock.acquire_now() else None


class CacheFile:
    """One piece of machine code on the disk: its file, the lock beside it, and a check sum that tells damage.

    Parameters
    ----------
    name : str
        What the file's name begins with.
    key : object
        What the code depends on besides that, the sources of the package and the processor; its ``repr`` counts.
    """

    #: Whether somebody has been told that nothing can be written: once a process is enough.
    complained: ClassVar[bool] = False

    def __init__(self, name: str, key: object):
        self._folder, self._writable = cache_folder, cache_is_writable
        digest = hashlib.sha256(repr((name, key, TRIPLE, PROCESSOR, FEATURES)).encode()).hexdigest()
        self._path = Path(cache_folder) / f"{re.sub('[^A-Za-z0-9_.]', '_', name)}-{digest[:16]}.nbc"
        self._lock: Lock | None = None

    def exists(self) -> bool:
        """Whether something has been written, whatever it is."""
        return bool(self._folder) and self._path.exists()

    def read(self) -> bytes | None:
        """What has been written; None where there is nothing, or where it is damaged, cut off or somebody else's."""
        if not self._folder:
            return None
        try:
            content = self._path.read_bytes()
            with contextlib.suppress(OSError):
                os.utime(self._path.parent)  # in use: not to be pruned
        except OSError:
            return None
        payload = content[CHECK_BYTES:]
        return payload if content[:CHECK_BYTES] == _check_sum(self._path.name, payload) else None

    def read_or_lock(self, on_wait: Callable[[], None]) -> bytes | None:
        """The same; None means here that this process holds the lock, where locks can be had, and is to compile."""
        found = self.read()
        if found is None and self._folder and self._writable:  # nobody waits for what nobody can keep
            self._lock = Lock(self._path.with_suffix(".lock"))
            if self._lock.acquire(on_wait):
                found = self.read()  # of whoever held the lock
        return found

    def write(self, payload: bytes) -> None:
        """Keep machine code, where that is possible."""
        if not (self._folder and self._writable):
            return
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)  # it may have been pruned
            unique = self._path.with_suffix(f".{uuid.uuid4().hex}")
            try:
                unique.write_bytes(_check_sum(self._path.name, payload) + payload)
                unique.replace(self._path)
            finally:
                unique.unlink(missing_ok=True)
        except OSError as failure:  # a full disk must not end a training
            if not CacheFile.complained:
                CacheFile.complained = True
                say(f"fastmlp: cannot keep compiled kernels in {self._folder}: {failure}")
        else:
            prune(Path(self._folder))

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._lock is not None:
            self._lock.release()
            self._lock = None


class KernelCache(DispatcherCache):
    """The machine code of one entry point, as Numba's dispatcher asks for it.

    The dispatcher calls :meth:`load_overload`, compiles where that gives None, calls :meth:`save_overload`, and afterwards,
    come what may, :meth:`release`; all of it while it holds Numba's own lock, so one thread at a time.
    """

    def __init__(self, function: Callable, on_wait: Callable[[], None]):
        self._name, self._on_wait = f"{function.__module__.rpartition('.')[2]}.{function.__name__}", on_wait
        self._file: CacheFile | None = None
        super().__init__(self._read, self._write)

    def _read(self, signature) -> bytes | None:
        self._file = CacheFile(self._name, signature)
        return self._file.read_or_lock(self._on_wait)

    def _write(self, signature, code: bytes) -> None:
        CacheFile(self._name, signature).write(code)

    def has(self, signature) -> bool:
        """Whether there is machine code for a signature."""
        return CacheFile(self._name, signature).exists()

    def release(self) -> None:
        """Let go of the lock, if it is held."""
        if self._file is not None:
            self._file.release()
            self._file = None
