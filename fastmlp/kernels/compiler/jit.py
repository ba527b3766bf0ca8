"""The one door to ``numba.njit``: the flags, with their reasons, and what is compiled when and how."""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable
from typing import ClassVar, NamedTuple, TypeVar

import numba
import numpy as np

from fastmlp.kernels.compiler.cache import CacheFile, KernelCache, cache_folder, cache_is_writable
from fastmlp.kernels.compiler.machine import MachineCode, is_known
from fastmlp.kernels.compiler.numba_private import (
    AVAILABLE,
    BlockCompiler,
    PartCompiler,
    PlainBlockCompiler,
    WholeCompiler,
    around_compile,
    compile_and_keep,
    compiler_lock,
    lend_part,
    object_code,
    on_compile,
)
from fastmlp.kernels.compiler.say import say

__all__ = [
    "COMPILING",
    "BusyError",
    "Entry",
    "announce_nothing",
    "announced",
    "compile_block",
    "history",
    "inner",
    "instead",
    "is_cached",
    "kernel",
    "never_wait",
    "plain_loops",
    "say",
]

F = TypeVar("F", bound=Callable)

# nogil        threads of one training run, and of a user's program, run kernels at the same time.
# error_model  "numpy": a division by zero gives inf or nan; a kernel never raises.
# fastmath     off. Reassociation and contraction depend on the code around an expression, so the same line could round
#              differently in an eager kernel and inside the engine; the promise that both agree bitwise forbids it.
#              Where a fused multiply-add pays it is written: intrinsics.muladd.
FLAGS = {"nogil": True, "error_model": "numpy", "fastmath": False}


class Entry(NamedTuple):
    """One entry point made ready for one signature in this process."""

    name: str
    seconds: float
    compiled: bool  # else it came from the cache


#: Whether anything is compiled: ``NUMBA_DISABLE_JIT`` is not set.
COMPILING = not numba.config.DISABLE_JIT

#: What this process has made ready, in order.
history: list[Entry] = []


# A child that is forked while another thread compiles would find Numba's lock held for ever, and LLVM's own too: fork waits.
if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=compiler_lock.acquire, after_in_parent=compiler_lock.release, after_in_child=compiler_lock.release
    )

# The two wrappers for Python and for C are a third of the compile time of a function that neither calls.
PART = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True} | ({"pipeline_class": PartCompiler} if AVAILABLE else {})
WHOLE = {"no_cfunc_wrapper": True, "pipeline_class": WholeCompiler}
BLOCK = PART | ({"pipeline_class": BlockCompiler} if AVAILABLE else {})
PLAIN_BLOCK = PART | ({"pipeline_class": PlainBlockCompiler} if AVAILABLE else {})

#: The functions of blocks whose loops are not unrolled.
_with_plain_loops: weakref.WeakSet[Callable] = weakref.WeakSet()


def inner(function: F) -> F:
    """Compile a function that only other kernels call, not Python; its code is part of theirs, and is not cached by itself."""
    return numba.njit(**FLAGS, **PART)(function)


def instead(compiled: Callable) -> Callable[[F], F]:
    """Decorate the plain-Python twin of an intrinsic: compiled callers get the intrinsic, Python the twin.

    Decided here, once, by whether the JIT is on. ``@overload`` would decide at each call's compilation, through a function
    of its own between caller and intrinsic that costs 70 ms to compile, some thirty times.
    """
    return lambda twin: compiled if COMPILING else twin  # type: ignore[return-value]


def plain_loops(function: F) -> F:
    """Decorate the function of a block whose loops LLVM is not to unroll.

    Loops that copy or call gain nothing by that, and take twice as long to become machine code; those that compute something
    for each entry gain up to a third (the losses of 128 rows of 10).
    """
    _with_plain_loops.add(function)
    return function


def kernel(function: F) -> F:
    """Compile an entry point, lazily, once per machine: what Python calls."""
    if not COMPILING:  # machine code does not warn where a number overflows; plain Python shall not either
        return np.errstate(all="ignore")(function)
    return _noted(*_lean(function)) if AVAILABLE else _noted(_plain(function))


def _lean(function):
    """An entry point with a cache and a pipeline of ours; other kernels get a part of it (:mod:`.numba_private`)."""
    dispatcher, part = numba.njit(**FLAGS, **WHOLE)(function), inner(function)
    lend_part(dispatcher, part)
    cache = dispatcher._cache = KernelCache(function, on_wait=lambda: _Announcer.waiting(function))
    return dispatcher, cache.release


def _plain(function):
    """An entry point as Numba compiles and caches it by itself."""
    before = numba.config.CACHE_DIR
    numba.config.CACHE_DIR = cache_folder  # Numba chooses the place while it decorates
    try:
        return numba.njit(**FLAGS, cache=cache_is_writable)(function)
    finally:
        numba.config.CACHE_DIR = before


def is_cached(dispatcher: Callable, signature: tuple) -> bool:
    """Whether nothing is to be compiled for this signature of an entry point, or nothing that could be kept."""
    cache = getattr(dispatcher, "_cache", None)
    if not COMPILING or not cache_is_writable or not isinstance(cache, KernelCache):
        return True
    return signature in dispatcher.overloads or cache.has(signature)  # type: ignore[attr-defined]


def _noted(dispatcher, release=lambda: None):
    """The dispatcher, which from now on writes into `history`, and calls `release` after each compilation, come what may."""
    name = f"{dispatcher.__module__.rpartition('.')[2]}.{dispatcher.__name__}"

    def noting(compile_or_load):
        def compile_and_note(signature):
            with compiler_lock:
                began, known, loaded = (
                    time.perf_counter(),
                    len(dispatcher.signatures),
                    sum(dispatcher.stats.cache_hits.values()),
                )
                try:
                    entry_point = compile_or_load(signature)
                finally:
                    release()
                if len(dispatcher.signatures) > known:
                    compiled = sum(dispatcher.stats.cache_hits.values()) == loaded
                    history.append(Entry(name, time.perf_counter() - began, compiled))
                return entry_point

        return compile_and_note

    return around_compile(dispatcher, noting)


def compile_block(function: Callable, signature, name: str, depends: str | None = "") -> MachineCode:
    """Compile a function for one signature, once per machine, and load it: what compiled code calls by its address.

    The address is the function's in Numba's own calling convention, ``int32 f(result*, excinfo**, arguments...)``, an array's
    fields and a tuple's items being arguments of their own, a record a pointer. The function has no wrapper for Python, and
    does nothing that needs the interpreter (print, object mode). A cache file holds one block, for one name, signature,
    processor and `depends`: closures that differ in anything else have to differ there. One process compiles, others wait.

    Parameters
    ----------
    function : callable
        A Python function; it may call `inner` functions, intrinsics and expressions.
    signature : numba signature
        Such as ``types.void(types.Array(...), types.intp)``. Its ``repr`` tells it from others, in every process alike.
    name : str
        What the cache file and the entry in `history` are called: letters, digits, points, underscores.
    depends : str, optional
        What the code depends on besides the sources of this package (the instructions that a user's formula emits, say).
        None, and nothing said for a function from elsewhere: nobody can tell, and nothing is cached.

    Returns
    -------
    MachineCode
        Its `address` is valid while the object lives.
    """
    if not COMPILING:
        raise RuntimeError("nothing is compiled while NUMBA_DISABLE_JIT is set: call the Python function")
    with compiler_lock:
        began = time.perf_counter()
        announced(function)
        if AVAILABLE:
            code, compiled = _lean_block(function, signature, name, depends)
        else:
            code, compiled = _plain_block(function, signature), True
        history.append(Entry(name, time.perf_counter() - began, compiled))
        return code


def _plain_block(function, signature):
    """A block as Numba compiles it by itself; not cached."""
    dispatcher = numba.njit(**FLAGS)(function)
    library, symbol = compile_and_keep(dispatcher, signature)
    return MachineCode.elsewhere(library.get_pointer_to_function(symbol), keep=dispatcher)


def _lean_block(function, signature, name, depends):
    """A block from the cache, or compiled as a whole, and whether it was compiled."""
    if depends == "" and not function.__module__.startswith(__name__.partition(".")[0] + "."):
        depends = None
    file = CacheFile(name, (signature, depends))
    try:
        found = file.read_or_lock(lambda: _Announcer.waiting(function)) if depends is not None else None
        if found is not None:
            names, _, code = found.partition(b"\0")
            symbol, *needed = names.decode().split(" ")
            if all(map(is_known, needed)):  # else compiling may make them known
                return MachineCode(symbol, code), False
        how = PLAIN_BLOCK if function in _with_plain_loops else BLOCK
        library, symbol = compile_and_keep(numba.njit(**FLAGS, **how)(function), signature)
        code, needed, lasting = object_code(library)
        if depends is not None and lasting:
            file.write(" ".join([symbol, *needed]).encode() + b"\0" + code)
        return MachineCode(symbol, code), True
    finally:
        file.release()


class BusyError(Exception):
    """Another process is compiling this."""


class _Announcer:
    """Says on standard error, once a process, that a long compilation has begun, or that another process is at it."""

    functions: ClassVar[weakref.WeakSet[Callable]] = weakref.WeakSet()
    said: ClassVar[bool] = False
    waits: ClassVar[bool] = True

    @classmethod
    def _say(cls, function, text):
        if function in cls.functions and not cls.said:
            cls.said = True
            if os.environ.get("FASTMLP_QUIET", "0") not in ("", "0"):
                return
            say(f"fastmlp: {text} ...")

    @classmethod
    def waiting(cls, function):
        if not cls.waits:
            raise BusyError
        cls._say(function, "waiting for another process that is compiling kernels")

    @classmethod
    def compiling(cls, function):
        once = "once on this machine" if cache_is_writable else "again in each process, since no cache folder can be written"
        cls._say(function, f"compiling kernels, about 3 seconds, {once}")


on_compile(_Announcer.compiling)


def announced(dispatcher: F) -> F:
    """Decorate a kernel whose compilation takes long enough to be announced (machine code from the cache is not)."""
    _Announcer.functions.add(getattr(dispatcher, "py_func", dispatcher))
    return dispatcher


def announce_nothing() -> None:
    """Have this process compile in silence: whoever calls this says what it does."""
    _Announcer.said = True


def never_wait() -> None:
    """Have this process raise a BusyError where another one is compiling what it is to compile."""
    _Announcer.waits = False
