"""Commits that are measured side by side: the sources of each from git, in a process and with a kernel cache of its own."""

from __future__ import annotations

import compileall
import io
import json
import os
import re
import subprocess
import sys
import tarfile
from dataclasses import dataclass
from pathlib import Path

from .paths import ASV, HERE

__all__ = ["BenchmarkError", "Commit", "Side", "chosen_of", "git"]

#: Later Pythons want to be told that an archive is one of files only.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


class BenchmarkError(Exception):
    """A benchmark could not be run at a commit."""

    def __init__(self, side: Side, text: str):
        super().__init__(text)
        self.side = side


def git(*arguments: str) -> bytes:
    """What git answers."""
    return subprocess.run(["git", *arguments], cwd=HERE.parent, check=True, stdout=subprocess.PIPE).stdout


@dataclass(frozen=True)
class Commit:
    """A commit, by its full hash."""

    hash: str

    @classmethod
    def of(cls, revision: str) -> Commit:
        try:
            return cls(git("rev-parse", "--verify", "--quiet", f"{revision}^{{commit}}").decode().strip())
        except subprocess.CalledProcessError:
            print(f"git knows no commit {revision!r}", file=sys.stderr)
            sys.exit(2)

    @property
    def title(self) -> str:
        return git("log", "-1", "--format=%h %s", self.hash).decode().strip()

    def sources(self) -> Path:
        """A folder with the package as it is at this commit."""
        folder = ASV / "compare" / self.hash
        if not folder.exists():
            unfinished = folder.with_suffix(f".{os.getpid()}")
            with tarfile.open(fileobj=io.BytesIO(git("archive", self.hash, "--", "fastmlp"))) as archive:
                archive.extractall(unfinished, **SAFELY)
            compileall.compile_dir(unfinished, quiet=2)  # as installing does: an import doesn't parse the sources
            unfinished.replace(folder)
        return folder


class Side:
    """A worker process that measures one commit, on the interpreter and the libraries of this environment or another."""

    def __init__(self, commit: Commit, python: str = sys.executable):
        self.commit = commit
        folder = str(commit.sources())
        environment = os.environ | {"PYTHONPATH": folder, "ASV_COMMIT": commit.hash, "PYTHONHASHSEED": "0"}
        self._process = subprocess.Popen(
            [python, "-m", "commands.worker"],
            cwd=HERE,
            env=environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def __enter__(self) -> Side:
        return self

    def __exit__(self, *_) -> None:
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()

    def ask(self, *request):
        """The answer to a request of worker.py."""
        print(json.dumps(request), file=self._process.stdin, flush=True)
        line = self._process.stdout.readline()
        if not line:
            sys.exit("a worker has died; what it said is above")
        answer = json.loads(line)
        if "failure" in answer:
            raise BenchmarkError(self, answer["failure"])
        return answer["answer"]


def chosen_of(benchmark: dict, pattern: str) -> list[tuple[int, str]]:
    """The combinations of a benchmark's parameters that are called like `pattern`: the place and the whole name of each."""
    labels = enumerate(benchmark["name"] + values for values in benchmark["combinations"])
    return [(place, label) for place, label in labels if re.search(pattern, label)]
