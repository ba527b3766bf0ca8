"""Measure fastmlp side by side with PyTorch, JAX, scikit-learn and onnxruntime; print the results as Markdown tables.

Everybody starts from the same parameters and sees the same data. What each computes is checked before it is timed. Then they
take turns in one process, round after round, and the median of the rounds counts. Progress goes to standard error.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.metadata
import importlib.util
import platform
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NoReturn

sys.path.insert(0, str(Path(__file__).parent))

from peers.machine import cores, fma_peak, processor_name
from peers.setting import Setting, note
from peers.sweep import ROWS, WIDTHS
from peers.tables import markdown
from peers.workloads import WORKLOADS

#: One file of peers/ each, in the order in which they are printed, with what --help says of them.
SECTIONS = {
    "train": "training steps, against everybody",
    "many": "64 networks at the same time, against one after the other and JAX's vmap",
    "predict": "prediction, against everybody",
    "sweep": "prediction from one row to a million, narrow and wide; --picture draws it",
    "threads": "training on one thread and on two",
    "matrix": "the matrix kernel, against the peak of one core",
    "functions": "exp and tanh, against NumPy",
    "start": "imports and first use, in fresh processes",
    "memory": "peak memory of a training, in fresh processes",
}

#: The peers, and the packages that they need, all of the extra `peers`.
PEERS = {"torch": ["torch"], "jax": ["jax", "optax"], "scikit-learn": ["scikit-learn"], "onnxruntime": ["onnxruntime", "onnx"]}


#: What a picture may end in.
FORMATS = (".png", ".pdf", ".svg")


class _Parser(argparse.ArgumentParser):
    """A parser whose complaint is one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"compare_peers: {message}\n")


def parser() -> argparse.ArgumentParser:
    """The options."""
    sections = "\n".join(f"  {name:11}{about}" for name, about in SECTIONS.items())
    made = _Parser(
        prog="compare_peers",
        description=__doc__,
        epilog=f"sections:\n{sections}\n\nworkloads of train and threads; of many disc-b100 and disc-b10, "
        f"of predict disc-b100 and mnist-512:\n  {', '.join(WORKLOADS)}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    add = made.add_argument
    add("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help="sections to measure (default: all)")
    add("--workloads", nargs="+", choices=WORKLOADS, metavar="NAME", help="which of those below (default: all)")
    add("--peers", nargs="*", choices=PEERS, metavar="PEER", help=f"{', '.join(PEERS)} (default: all that are installed)")
    rows, widths = whole_number(1, 10**7), whole_number(1, 10**4)
    add("--rows", nargs="+", type=rows, default=ROWS, metavar="N", help="of the sweep (default: 1 to a million)")
    add("--widths", nargs="+", type=widths, default=WIDTHS, metavar="N", help="of the sweep (default: 8 to 1024)")
    add("--picture", type=picture, metavar="FILE", help="where to draw the sweep: .png, .pdf or .svg (needs matplotlib)")
    add("--rounds", type=whole_number(1), default=9, metavar="N", help="rounds of which the median counts (default: 9)")
    add("--seconds", type=seconds, default=0.1, metavar="S", help="length of a contender's turn (default: 0.1)")
    add("--pause", type=seconds, default=0.1, metavar="S", help="rest between two turns (default: 0.1)")
    add("--cold", type=whole_number(0), default=1, metavar="N", help="first uses with nothing compiled (default: 1)")
    return made


def whole_number(least: int, most: int = 1000) -> Callable[[str], int]:
    """A reader of whole numbers from `least` to `most`, for argparse."""

    def read(text: str) -> int:
        if not text.isdecimal() or not least <= int(text) <= most:
            raise argparse.ArgumentTypeError(f"must be a whole number from {least} to {most}; got {text!r}")
        return int(text)

    return read


def seconds(text: str) -> float:
    """A time, for argparse."""
    try:
        value = float(text)
    except ValueError:
        value = 0.0
    if not 0.001 <= value <= 60:
        raise argparse.ArgumentTypeError(f"must be a number of seconds from 0.001 to 60; got {text!r}")
    return value


def picture(text: str) -> Path:
    """A file to draw in, for argparse."""
    path = Path(text)
    if path.suffix not in FORMATS:
        raise argparse.ArgumentTypeError(f"must end in {', '.join(FORMATS[:-1])} or {FORMATS[-1]}; got {text!r}")
    if not path.parent.is_dir():
        raise argparse.ArgumentTypeError(f"there is no folder {str(path.parent)!r}")
    return path


def versions(packages: Sequence[str]) -> dict[str, str | None]:
    """The version of each package, None where it is not installed."""
    found: dict[str, str | None] = {}
    for package in packages:
        try:
            found[package] = importlib.metadata.version(package)
        except importlib.metadata.PackageNotFoundError:
            found[package] = None
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and print the tables."""
    read = parser()
    options = read.parse_args(arguments)
    wanted = list(PEERS) if options.peers is None else [peer for peer in PEERS if peer in options.peers]
    packages = {peer: versions(PEERS[peer]) for peer in wanted}
    missing = {peer: [name for name, version in found.items() if version is None] for peer, found in packages.items()}
    present = [peer for peer in wanted if not missing[peer]]
    lacking = [name for names in missing.values() for name in names]
    if lacking and options.peers is not None:
        read.error(f'not installed: {", ".join(lacking)}; pip install "fastmlp[peers]" brings all')

    sections = [name for name in SECTIONS if name in (options.only or SECTIONS)]
    if options.picture is not None and "sweep" not in sections:
        read.error("--picture draws the section sweep, which --only leaves out")
    if options.picture is not None and importlib.util.find_spec("matplotlib") is None:
        read.error('--picture needs matplotlib; pip install "fastmlp[plot]" brings it')

    note("peak of fused multiply-adds")
    one, all_cores = fma_peak(1, 10 * options.seconds), fma_peak(cores(), 10 * options.seconds)
    setting = Setting(
        peers=present,
        workloads=list(dict.fromkeys(options.workloads or WORKLOADS)),
        rounds=options.rounds,
        seconds=options.seconds,
        pause=options.pause,
        cold=options.cold,
        cores=cores(),
        peak=all_cores,
        rows=sorted(set(options.rows)),
        widths=sorted(set(options.widths)),
        picture=options.picture,
    )
    print(f"{processor_name()}, {cores()} cores; FMA peak {one:.0f} GFLOP/s on one core, {all_cores:.0f} on all.")
    found = {"Python": platform.python_version(), **versions(["fastmlp", "numba", "numpy"])}
    for peer in present:
        found |= packages[peer]
    print(", ".join(f"{name} {version}" for name, version in found.items()) + ".")
    if lacking:
        print(f"Not installed, and left out: {', '.join(lacking)}.")
    for name in sections:
        section = importlib.import_module(f"peers.{name}")
        rows = list(section.rows(setting))
        if rows:  # predict has nothing to say of some workloads
            print(f"\n### {section.TITLE}\n\n{section.CAPTION}\n\n{markdown(rows)}", flush=True)


if __name__ == "__main__":
    main()
