"""``python -m fastmlp warmup`` compiles ahead, for an image say; ``info`` says what is here, ``items`` what there is."""

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
from fastmlp.kernels.compiler.jit import COMPILING, announce_nothing, history
from fastmlp.kernels.compiler.processor import PROCESSOR, REGISTER_BYTES, REGISTERS
from fastmlp.registry import table
from fastmlp.team import cores
from fastmlp.warmup import warm_up

__all__ = ["main"]

DTYPES = ("float32", "float64")
WIDTH = 28  # of the column of names
NO_FOLDER = "none: no folder for it can be written; NUMBA_CACHE_DIR can name one"


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what the command line asks for, and return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m fastmlp", description="Look after the compiled kernels of fastmlp.")
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(dest="command", required=True, metavar="{warmup,info,items}")
    warmup = commands.add_parser(
        "warmup",
        help="compile the kernels now rather than at their first use",
        description="Compile everything that fit, predict and the modules need, block by block, and keep it for all processes "
        "of this user. NUMBA_CACHE_DIR chooses the folder.",
    )
    warmup.add_argument("--dtype", nargs="+", choices=DTYPES, default=DTYPES, help="for these dtypes (default: both)")
    commands.add_parser("info", help="say versions, processor, and where compiled kernels are kept")
    commands.add_parser("items", help="list the activations, layers, losses, optimizers and schedules there are, in Markdown")
    chosen = parser.parse_args(arguments)
    if chosen.command == "warmup":
        return _warmup(chosen.dtype)
    return _info() if chosen.command == "info" else _items()


def _warmup(dtypes: Sequence[str]) -> int:
    if not COMPILING:
        print("fastmlp: there is nothing to compile: NUMBA_DISABLE_JIT is set", file=sys.stderr)
        return 1
    if not cache_folder:
        print(f"fastmlp: a cache is what warmup fills; there is {NO_FOLDER}", file=sys.stderr)
        return 1
    announce_nothing()  # the table says what is compiled
    began, before = time.perf_counter(), len(history)
    for dtype in dict.fromkeys(dtypes):
        print(dtype, flush=True)
        known = len(history)
        for _ in warm_up(np.dtype(dtype)):
            for entry in history[known:]:
                origin = "" if entry.compiled else "  from the cache"
                print(f"  {entry.name:{WIDTH}} {entry.seconds:6.2f} s{origin}", flush=True)
            known = len(history)
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
        "threads": _threads(),
        "kernels": "compiled" if COMPILING else "plain Python: NUMBA_DISABLE_JIT is set",
        "cache": _folder(),
    }
    for name, value in facts.items():
        print(f"{name:10} {value}")
    return 0


def _items() -> int:
    rows = table()
    for family in dict.fromkeys(row.family for row in rows):
        print(f"| {family} | |\n| --- | --- |")
        for row in rows:
            if row.family == family:
                print(f"| `{row.name}{row.arguments}` | {row.summary} |")
        print()
    return 0


def _threads() -> str:
    try:
        return f"at most {cores()}"
    except ValueError as nonsense:  # in the environment
        return str(nonsense)


def _folder() -> str:
    if not cache_folder:
        return NO_FOLDER
    sizes = [path.stat().st_size for path in Path(cache_folder).glob("*.nbc")]
    return f"{cache_folder} ({len(sizes)} file{'s' * (len(sizes) != 1)}, {sum(sizes) / 2**20:.1f} MB)"


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
