"""Measure commits of the past in turns, and keep the results for the dashboard.

The commits take turns as in bench-compare: each has a process, its sources and a kernel cache of its own; all run the
benchmarks of the working tree, on the libraries that asv.conf.json pins. Whatever slows the machine down slows all of them, so
the steps of a curve are those of the commits, also where all of it would be higher in another hour.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from types import SimpleNamespace

from asv.config import Config
from asv.environment import Environment, get_environments
from asv.results import Results

from .fastest import fast, settle, store
from .machine import describe
from .paths import HERE, RESULTS
from .side import BenchmarkError, Commit, Side, chosen_of, git

__all__ = ["main"]

#: Turns of each commit in a round: of what takes milliseconds, and of what takes a process.
TURNS, SLOW_TURNS = 6, 1

#: What a machine's curves are of, where nothing else is asked for: about 40 benchmarks of whole things, and the peak.
USUAL = r"^(training|eager\.Steps|prediction|startup\.Startup|startup\.Cold\.timeraw_first|peak)"

#: Samples of a commit: by the name of the benchmark and the place of its parameters.
Samples = dict[tuple[str, int], list[float]]


def lines(*arguments: str) -> list[str]:
    """The lines that git answers."""
    return git(*arguments).decode().splitlines()


def commits(since: str | None = None) -> tuple[list[str], list[str]]:
    """Commits of the main line that changed the package, the newest first: with a pyproject.toml, and without."""
    span = [f"{since}..HEAD"] if since else ["HEAD"]
    found = lines("rev-list", "--first-parent", *span, "--", "fastmlp") + ([Commit.of(since).hash] if since else [])
    built, unbuilt = [], []
    for commit in found:
        (built if lines("ls-tree", "--name-only", commit, "pyproject.toml") else unbuilt).append(commit)
    return built, unbuilt


def chosen(wanted: Sequence[str], since: str | None) -> list[Commit]:
    """So many commits, evenly spread, or those that are named; says which are left out."""
    if len(wanted) > 1 or not wanted[0].isdigit() or len(wanted[0]) > 4:
        return [Commit.of(revision) for revision in wanted]
    built, unbuilt = commits(since)
    for commit in unbuilt:
        print(f"left out: {Commit(commit).title} (it has no pyproject.toml: its package was another one)")
    count, last = min(int(wanted[0]), len(built)), len(built) - 1
    return [Commit(built[i * last // max(1, count - 1)]) for i in range(count)]


def pinned() -> Environment:
    """The environment that asv measures in, with its pinned libraries; made where there is none yet."""
    environment = next(get_environments(Config.load(str(HERE / "asv.conf.json")), None))
    environment.create()
    return environment


def rotated(sides: Sequence[Side], by: int) -> Iterator[Side]:
    """All sides, another one first each time."""
    return (sides[(by + i) % len(sides)] for i in range(len(sides)))


def measure(sides: Sequence[Side], benchmark: dict, place: int, samples: dict[Commit, Samples]) -> list[str]:
    """Let all commits that have a benchmark take turns; what went wrong."""
    key, there, wrong = (benchmark["name"], place), [], []
    for side in sides:
        try:
            if side.ask("prepare", *key):
                there.append(side)
        except BenchmarkError as failure:
            wrong.append(f"fails at {side.commit.hash[:7]}: {failure}")
    for i in range(TURNS if benchmark["quick"] else SLOW_TURNS):
        for side in rotated(there, i):
            samples[side.commit].setdefault(key, []).append(side.ask("turn", *key))
    return wrong


def keep(machine: str, environment: Environment, commit: Commit, samples: Samples, listed: dict[str, dict]) -> None:
    """Put what has been measured of a commit to its other results, as asv has them."""
    facts = json.loads((RESULTS / machine / "machine.json").read_text())
    facts = {name: value for name, value in facts.items() if name != "version"}
    facts |= {"python": environment.python, **environment.requirements}
    date = 1000 * int(git("log", "-1", "--format=%ct", commit.hash))  # in milliseconds, as asv has it
    results = Results(
        facts, environment.requirements, commit.hash, date, environment.python, environment.name, environment.env_vars
    )
    results.load_data(str(RESULTS))
    for name in sorted({name for name, _ in samples}):
        benchmark = listed[name]
        values = [fast(samples[name, i]) if (name, i) in samples else math.nan for i in range(len(benchmark["combinations"]))]
        nothing = [None] * len(values)
        result = SimpleNamespace(result=values, samples=nothing, number=nothing, errcode=0, stderr="", profile=None)
        results.add_result(benchmark, result, selected_idx={place for other, place in samples if other == name})
    results.save(str(RESULTS))
    path = RESULTS / results._filename
    stored = json.loads(path.read_text())
    settle(stored)
    store(path, stored)


def main() -> int:
    """2 where a benchmark has failed, or none is called so."""
    parser = argparse.ArgumentParser(prog="bench-history", description=__doc__)
    parser.add_argument("machine", help="the name under which results are kept")
    parser.add_argument("commits", nargs="+", help="how many, evenly spread, or which")
    parser.add_argument("--since", metavar="REVISION", help="spread them over the commits from this one on")
    parser.add_argument("--rounds", type=int, default=2, help="fresh processes of each commit (default: 2)")
    parser.add_argument(
        "--bench", default=USUAL, metavar="REGEX", help=f"benchmarks, by name and parameters (default: {USUAL})"
    )
    parser.add_argument("--list", action="store_true", help="only say which commits")
    options = parser.parse_args()
    some = chosen(options.commits, options.since)
    print(*(f"{git('log', '-1', '--format=%cs', commit.hash).decode().strip()} {commit.title}" for commit in some), sep="\n")
    if options.list:
        return 0
    describe(options.machine)
    environment = pinned()
    python = environment.find_executable("python")
    samples: dict[Commit, Samples] = {commit: {} for commit in some}
    wrong: set[str] = set()
    for number in range(options.rounds):
        with ExitStack() as stack:
            sides = [stack.enter_context(Side(commit, python)) for commit in some]
            listed = {benchmark["name"]: benchmark for benchmark in sides[0].ask("list")}
            for benchmark in listed.values():
                for place, label in chosen_of(benchmark, options.bench):
                    wrong |= {f"{label} {text}" for text in measure(sides, benchmark, place, samples)}
                    print(f"round {number + 1}/{options.rounds}: {label}", flush=True)
    for commit in some:
        if samples[commit]:
            keep(options.machine, environment, commit, samples[commit], listed)
    print(*sorted(wrong), sep="\n", end="\n" if wrong else "")
    return 2 if wrong or not any(samples.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
