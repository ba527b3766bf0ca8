"""Measure commits of the past that changed the package, spread evenly over its history; what has results is left out."""

from __future__ import annotations

import argparse
import subprocess
import sys

from asv.util import pick_n

from .paths import HERE
from .run import run

__all__ = ["main"]


def git(*arguments: str) -> list[str]:
    """The lines that git answers."""
    return subprocess.run(["git", *arguments], cwd=HERE.parent, check=True, capture_output=True, text=True).stdout.splitlines()


def commits() -> tuple[list[str], list[str]]:
    """Commits of the main line that changed the package, the newest first: those that can be built, and those that cannot."""
    built, unbuilt = [], []
    for commit in git("rev-list", "--first-parent", "HEAD", "--", "fastmlp"):
        (built if git("ls-tree", "--name-only", commit, "pyproject.toml") else unbuilt).append(commit)
    return built, unbuilt


def main() -> int:
    """2 where a benchmark has failed."""
    parser = argparse.ArgumentParser(prog="bench-history", description=__doc__)
    parser.add_argument("count", type=int, help="how many commits")
    parser.add_argument("machine", help="the name under which results are kept")
    parser.add_argument("--rounds", default="2", help="rounds of each benchmark (default: 2; `make bench` takes 4)")
    parser.add_argument("--bench", default="", metavar="REGEX", help="benchmarks, by name (default: all)")
    parser.add_argument("--list", action="store_true", help="only say which commits")
    options = parser.parse_args()
    built, unbuilt = commits()
    for commit in unbuilt:
        title = git("log", "-1", "--format=%h %s", commit)[0]
        print(f"left out: {title} (it has no pyproject.toml, so there is nothing to install)")
    chosen = pick_n(built, options.count)
    print(*(git("log", "-1", "--format=%h %cs %s", commit)[0] for commit in chosen), sep="\n", flush=True)
    if options.list:
        return 0
    some = ["--bench", options.bench] if options.bench else []
    return run(options.machine, chosen, "--skip-existing-successful", "--attribute", f"rounds={options.rounds}", *some)


if __name__ == "__main__":
    sys.exit(main())
