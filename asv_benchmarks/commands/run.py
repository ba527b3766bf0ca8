"""Measure commits with asv, each in an environment of pinned versions, and keep the results for the dashboard."""

from __future__ import annotations

import argparse
import subprocess
import sys

from .fastest import settle_all
from .machine import describe
from .paths import HERE

__all__ = ["main", "run"]


def run(machine: str, commits: list[str], *options: str) -> int:
    """Measure some commits on this machine; asv's exit status, 2 where a benchmark has failed."""
    describe(machine)
    command = [sys.executable, "-m", "asv", "run", "--machine", machine, "--record-samples", "--show-stderr", "--no-pull"]
    done = subprocess.run([*command, *options, "HASHFILE:-"], cwd=HERE, input="\n".join(commits), text=True, check=False)
    settle_all(machine)
    return done.returncode


def main() -> int:
    """Measure the commit that is checked out."""
    parser = argparse.ArgumentParser(prog="bench", description=__doc__)
    parser.add_argument("machine", help="the name under which results are kept")
    parser.add_argument("--bench", metavar="REGEX", help="benchmarks, by name and parameters (default: all)")
    options = parser.parse_args()
    changed = ["git", "status", "--porcelain", "--", "fastmlp"]
    if subprocess.run(changed, cwd=HERE.parent, check=True, capture_output=True).stdout:
        print("bench: what has not been committed in fastmlp/ is not measured")
    return run(options.machine, ["HEAD"], *(["--bench", options.bench] if options.bench else []))


if __name__ == "__main__":
    sys.exit(main())
