"""Measure two commits of fastmlp in turns on this machine, and say what has become slower.

Both run the benchmarks of the working tree, on the interpreter and the libraries of this environment; each has its sources from
git, a process of its own and a kernel cache of its own. See verdict.py for when something is slower.
"""

from __future__ import annotations

import argparse
import statistics
import sys
from contextlib import ExitStack
from dataclasses import dataclass, field

from .side import BenchmarkError, Commit, Side, chosen_of, git
from .verdict import is_slower, is_suspect, ratio

__all__ = ["main"]

#: Turns of each side: of what takes milliseconds, and of what takes a process.
TURNS, SLOW_TURNS = 9, 3

#: Fresh pairs of processes for what looks slower in the first.
PAIRS = 5


@dataclass
class Case:
    """One benchmark with one combination of its parameters, and what has been measured of it."""

    name: str
    place: int
    label: str
    unit: str
    quick: bool
    base: list[float] = field(default_factory=list)  # medians of pairs of processes
    head: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    note: str = ""  # why there are no numbers

    def measure(self, base: Side, head: Side) -> None:
        """Let both sides take turns."""
        try:
            there, here = (side.ask("prepare", self.name, self.place) for side in (base, head))
            if not (there and here):
                self.note = "not at " + ("base" if here else "head" if there else "either")
                return
            turns: dict[Side, list[float]] = {base: [], head: []}
            for i in range(TURNS if self.quick else SLOW_TURNS):
                for side in (base, head) if i % 2 == 0 else (head, base):
                    turns[side].append(side.ask("turn", self.name, self.place))
        except BenchmarkError as failure:
            self.note = f"fails at {'head' if failure.side is head else 'base'}: {failure}"
            return
        self.base.append(statistics.median(turns[base]))
        self.head.append(statistics.median(turns[head]))
        self.ratios.append(ratio(turns[base], turns[head]))

    def row(self) -> str:
        """A line of the table."""
        if not self.ratios:
            return f"  {'':>10} {'':>10} {'':>7}  {self.label}  ({self.note})"
        base, head = (written(statistics.median(side), self.unit) for side in (self.base, self.head))
        spread = f"  ({min(self.ratios):.2f} to {max(self.ratios):.2f})" if len(self.ratios) > 1 else ""
        return f"  {base:>10} {head:>10} {statistics.median(self.ratios):>6.2f}x  {self.label}{spread}"


def written(value: float, unit: str) -> str:
    """A number with its unit, to three digits."""
    if unit != "seconds":
        return f"{value / 1e6:.1f} MB" if unit == "bytes" else f"{value:.3g}"
    factor, name = next((f, n) for f, n in ((1, "s"), (1e3, "ms"), (1e6, "us")) if value * f >= 1 or n == "us")
    return f"{value * factor:#.3g}".rstrip(".") + f" {name}"


def cases(side: Side, pattern: str) -> list[Case]:
    """The benchmarks whose name, parameters included, holds `pattern`."""
    return [
        Case(benchmark["name"], place, label, benchmark["unit"], benchmark["quick"])
        for benchmark in side.ask("list")
        for place, label in chosen_of(benchmark, pattern)
    ]


def measure_again(suspects: list[Case], base: Commit, head: Commit) -> None:
    """Once in each of several pairs of processes; what has made them suspects no longer counts."""
    for case in suspects:
        case.base, case.head, case.ratios = [], [], []
    for _ in range(PAIRS):
        with Side(base) as there, Side(head) as here:
            for case in suspects:
                case.measure(there, here)


def main() -> int:
    """0 where nothing is slower, 1 where something is or fails, 2 for what cannot be compared."""
    parser = argparse.ArgumentParser(prog="bench-compare", description="Measure two commits in turns on this machine.")
    parser.add_argument("base", help="a revision to compare with")
    parser.add_argument("head", nargs="?", default="HEAD", help="the revision that may be slower (default: HEAD)")
    parser.add_argument("--bench", default="", metavar="REGEX", help="benchmarks, by name and parameters (default: all)")
    parser.add_argument("--factor", type=float, default=1.1, help="how many times as long is too slow (default: 1.1)")
    options = parser.parse_args()
    if options.factor <= 1:
        parser.error("--factor must be above 1")
    base, head = Commit.of(options.base), Commit.of(options.head)
    print(f"base {base.title}\nhead {head.title}")
    if git("status", "--porcelain", "--", "fastmlp").strip():
        print("(what has not been committed in fastmlp/ is not measured)")

    with ExitStack() as stack:
        there, here = stack.enter_context(Side(base)), stack.enter_context(Side(head))
        chosen = cases(here, options.bench)
        if not chosen:
            print(f"no benchmark is called like {options.bench!r}", file=sys.stderr)
            return 2
        print(f"{len(chosen)} benchmarks\n\n  {'base':>10} {'head':>10} {'ratio':>7}")
        for case in chosen:
            case.measure(there, here)
            print(case.row(), flush=True)

    suspects = [case for case in chosen if case.ratios and is_suspect(case.ratios[0], options.factor)]
    if suspects:
        print(f"\nMeasured again, in {PAIRS} fresh pairs of processes\n", flush=True)
        measure_again(suspects, base, head)
        print(*(case.row() for case in suspects), sep="\n")

    slower = [case for case in suspects if len(case.ratios) == PAIRS and is_slower(case.ratios, options.factor)]
    failed = [case for case in chosen if case.note.startswith("fails at head")]
    missing = [case for case in chosen if case.note == "not at head"]
    for title, some in (("SLOWER", slower), ("FAILS", failed), ("NO LONGER THERE", missing)):
        if some:
            print(f"\n{title}\n", *(case.row() for case in some), sep="\n")
    if not (slower or failed or missing):
        print(f"\nNothing is slower by more than {options.factor:g} times.")
    return 1 if slower or failed or missing else 0


if __name__ == "__main__":
    sys.exit(main())
