"""threadpoolctl's limits, for the threads of fastmlp too: its ``threadpool_limits`` sets the limit of :mod:`fastmlp.cores`.

threadpoolctl looks for the files of the shared libraries that a process has loaded, and makes a controller of the first
registered class that knows the beginning of such a file's name. fastmlp has no file of its own: its machine code is made when
it runs. So its controller knows the file of llvmlite, without which Numba cannot be imported, and which has no threads itself
that anybody else would want to limit.
"""

from __future__ import annotations

import sys
from _thread import get_ident
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

from fastmlp import cores
from fastmlp._version import __version__

__all__ = ["be_known"]

NAME = "threadpoolctl"

#: How the file of llvmlite's library is called, in lower case: on Linux and macOS, on Windows.
FILES = ("libllvmlite", "llvmlite")


def be_known() -> None:
    """Register fastmlp with threadpoolctl: now if that has been imported, else when it is. This does not import it.

    To register with the next call of fastmlp would be too late: within ``with threadpool_limits(1):`` only that is limited
    which was known when it was entered.
    """
    if sys.modules.get(NAME) is None:
        sys.meta_path.insert(0, _Watcher())
        return
    import threadpoolctl  # waits for a thread that has begun to import it

    _register(threadpoolctl)


def _register(threadpoolctl: Any) -> None:
    """Have it make controllers of fastmlp; versions before 3.2 take none."""
    if not hasattr(threadpoolctl, "register"):
        return

    class FastmlpController(threadpoolctl.LibController):
        user_api = internal_api = "fastmlp"
        filename_prefixes = FILES

        def get_num_threads(self) -> int:
            number = cores.get_num_threads()
            return number if cores.limit else _Unlimited(number)

        def set_num_threads(self, num_threads: int) -> None:
            if isinstance(num_threads, _Unlimited):
                cores.limit.clear()
            else:
                cores.set_num_threads(num_threads)

        def get_version(self) -> str:
            return __version__

    threadpoolctl.register(FastmlpController)


class _Unlimited(int):
    """The number of threads where nobody has set one: threadpoolctl gives it back when its limit ends, then none is left."""


class _Watcher:
    """A finder that leaves threadpoolctl to the other finders, and has its loader register fastmlp when it is loaded.

    It stays, since to find a module is not yet to load it. Each other import asks it in vain, 0.1 us.
    """

    def __init__(self) -> None:
        self._asking: set[int] = set()  # threads that ask the other finders, of which one may ask all others, too

    def find_spec(self, name: str, path: Sequence[str] | None = None, target: ModuleType | None = None) -> ModuleSpec | None:
        """Where threadpoolctl is; None for anything else."""
        if name != NAME or get_ident() in self._asking:
            return None
        self._asking.add(get_ident())
        try:
            others = (getattr(finder, "find_spec", None) for finder in list(sys.meta_path) if finder is not self)
            spec = next((spec for find in others if find and (spec := find(name, path, target))), None)
        finally:
            self._asking.discard(get_ident())
        if spec is not None and spec.loader is not None:
            _register_when_loaded(spec.loader)
        return spec


def _register_when_loaded(loader: Any) -> None:
    """Let a loader register fastmlp after threadpoolctl; it stays the loader that it is, whose sources can be looked at."""
    load = loader.exec_module

    def exec_module(module: ModuleType) -> None:
        load(module)
        if module.__name__ == NAME:  # the loader of an archive loads others, too
            _register(module)

    loader.exec_module = exec_module
