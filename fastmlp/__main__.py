"""``python -m fastmlp warmup`` compiles ahead of time, for an image say; ``python -m fastmlp info`` says what is here."""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np

from fastmlp._version import __version__
from fastmlp.kernels.compiler.cache import cache_folder
from fastmlp.kernels.compiler.jit import COMPILING, history
from fastmlp.kernels.compiler.processor import PROCESSOR, REGISTER_BYTES, REGISTERS
from fastmlp.team import cores
from fastmlp.warmup import STEPS, warm_up

__all__ = ["main"]

DTYPES = ("float32", "float64")
NO_FOLDER = "none: no folder for it can be written; NUMBA_CACHE_DIR can name one"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fastmlp", description="Look after the compiled kernels of fastmlp.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{warmup,info}")
    warmup = commands.add_parser(
        "warmup",
        help="compile the kernels now rather than at their first use",
        description="Compile everything that fit, predict and the modules need, and keep it for all processes of this user. "
        "NUMBA_CACHE_DIR chooses the folder.",
    )
    warmup.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES, help="for these dtypes (default: both)")
    commands.add_parser("info", help="say versions, processor, and where compiled kernels are kept")
    chosen = parser.parse_args(arguments)
    return _warmup(chosen.dtype) if chosen.command == "warmup" else _info()


def _warmup(dtypes: Sequence[str]) -> int:
    if not COMPILING:
        print("fastmlp: there is nothing to compile: NUMBA_DISABLE_JIT is set", file=sys.stderr)
        return 1
    if not cache_folder:
        print(f"fastmlp: a cache is what warmup fills; there is {NO_FOLDER}", file=sys.stderr)
        return 1
    began, before = time.perf_counter(), len(history)
    print(f"{'kernel':40} {'for':8} {'seconds':>8}", flush=True)
    for dtype in dict.fromkeys(dtypes):
        for step in STEPS:
            known = len(history)
            warm_up(step, np.dtype(dtype))
            for entry in history[known:]:
                origin = "" if entry.compiled else "  from the cache"
                print(f"{entry.name:40} {dtype:8} {entry.seconds:8.2f}{origin}", flush=True)
    compiled = sum(entry.compiled for entry in history[before:])
    cached = len(history) - before - compiled
    print(f"\n{compiled} compiled, {cached} from the cache, in {time.perf_counter() - began:.1f} s")
    print(f"kept in {_folder()}")
    return 0


def _info() -> int:
    facts = {
        "fastmlp": __version__,
        "Python": f"{platform.python_version()} ({platform.system()}, {platform.machine()})",
        "libraries": ", ".join(f"{name} {version(name)}" for name in ("numpy", "numba", "llvmlite")),
        "processor": f"{PROCESSOR}, {REGISTERS} vector registers of {REGISTER_BYTES} bytes",
        "threads": f"at most {cores()}",
        "kernels": "compiled" if COMPILING else "plain Python: NUMBA_DISABLE_JIT is set",
        "cache": _folder(),
    }
    for name, value in facts.items():
        print(f"{name:10} {value}")
    return 0


def _folder() -> str:
    if not cache_folder:
        return NO_FOLDER
    files = [path.stat().st_size for path in Path(cache_folder).glob("*.nbc")]
    return f"{cache_folder} ({len(files)} kernels, {sum(files) / 2**20:.1f} MB)"


if __name__ == "__main__":
    try:
        status = main()
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("\nfastmlp: interrupted", file=sys.stderr)
        status = 130
    except BrokenPipeError:  # into head, say
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        status = 1
    sys.exit(status)
