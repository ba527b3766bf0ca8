"""Does bench-compare see what is slower, and only that? In a scratch clone, with the benchmarks of the working tree."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from commands.compare import BenchmarkError, Case, written
from helpers import jit_only

ROOT = Path(__file__).parents[2]
LINEAR = Path("fastmlp", "kernels", "blocks", "linear_fields.py")

#: The call that is made slower, and how: half of its rows are computed twice.
FORWARD = """    matmul_above(
        y, bias, SAME, ADJACENT, x, op.x_stride, ADJACENT, weight_of(op, job), op.width_out, op.width_in, floor_of(op, job)
    )
"""
HALF_AGAIN = "    y = matrix(job.work, op.y + at * op.y_stride, rows // 2, op.y_stride)\n" + FORWARD


class Clone:
    """A clone of the repository, with the working tree as its last commit."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.git("clone", "--quiet", "--no-hardlinks", str(ROOT), ".")
        listed = subprocess.run(
            ["git", "ls-files", "-coz", "--exclude-standard"], cwd=ROOT, check=True, capture_output=True, text=True
        )
        for name in filter(None, listed.stdout.split("\0")):
            if (ROOT / name).exists():
                (folder / name).parent.mkdir(parents=True, exist_ok=True)
                shutil.copy(ROOT / name, folder / name)
        self.commit("The working tree")
        self.base = self.git("rev-parse", "HEAD").strip()

    def git(self, *arguments: str) -> str:
        return subprocess.check_output(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=self.folder, text=True
        )

    def commit(self, title: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--allow-empty", "--message", title)

    def change(self, old: str, new: str, title: str) -> None:
        """A commit upon the base that changes the block of linear layers."""
        self.git("checkout", "--quiet", "--detach", self.base)
        path = self.folder / LINEAR
        source = path.read_text()
        assert source.count(old) == 1, "linear_fields.py has changed: write this test's changes anew"
        path.write_text(source.replace(old, new))
        self.commit(title)

    def compare(self, *options: str) -> subprocess.CompletedProcess:
        """What bench-compare says of the last commit and the base."""
        command = [sys.executable, "-m", "commands.compare", self.base, *options]
        return subprocess.run(
            command, cwd=self.folder / "asv_benchmarks", check=False, capture_output=True, text=True, timeout=900
        )


class FakeSide:
    """A side whose turns take what it is told; None: the commit lacks the benchmark, an exception: it fails."""

    def __init__(self, turns):
        self.turns = turns

    def ask(self, request, *_):
        if isinstance(self.turns, Exception):
            raise BenchmarkError(self, str(self.turns))
        return self.turns is not None if request == "prepare" else next(self.turns)


def measured(base, head):
    case = Case("name", 0, "name(1)", "seconds", quick=True)
    case.measure(FakeSide(base), FakeSide(head))
    return case


def test_sides_take_turns_and_are_compared_turn_by_turn():
    case = measured((1.0 + i for i in range(9)), (1.5 + 1.5 * i for i in range(9)))
    assert case.ratios == [1.5]
    assert case.row().split() == ["5.00", "s", "7.50", "s", "1.50x", "name(1)"]


@pytest.mark.parametrize(
    ("base", "head", "note"),
    [
        (None, iter(()), "not at base"),
        (iter(()), None, "not at head"),
        (None, None, "not at either"),
        (ValueError("x"), iter(()), "fails at base: x"),
        (iter(()), ValueError("x"), "fails at head: x"),
    ],
)
def test_what_has_no_numbers_says_why(base, head, note):
    case = measured(base, head)
    assert (case.ratios, case.note) == ([], note)
    assert note in case.row()


@pytest.mark.parametrize(
    ("value", "unit", "text"),
    [
        (2.5e-7, "seconds", "0.250 us"),
        (0.0123456, "seconds", "12.3 ms"),
        (100.0, "seconds", "100 s"),
        (2.5e8, "bytes", "250.0 MB"),
    ],
)
def test_numbers_are_written_with_their_unit(value, unit, text):
    assert written(value, unit) == text


def test_the_call_that_is_made_slower_is_still_there():
    """The tests that measure take minutes and are seldom run."""
    source = (ROOT / LINEAR).read_text()
    assert source.count(FORWARD) == 1
    assert "y = matrix(job.work, op.y + at * op.y_stride, rows, op.y_stride)" in source


@pytest.fixture(scope="module")
def clone(tmp_path_factory):
    return Clone(tmp_path_factory.mktemp("clone"))


@jit_only
@pytest.mark.parametrize(
    ("options", "said"),
    [(["--bench", "no such benchmark"], "no benchmark is called like"), (["no-such-revision"], "git knows no commit")],
)
def test_what_cannot_be_compared_is_an_error_of_its_own(clone, options, said):
    clone.git("checkout", "--quiet", "--detach", clone.base)
    done = clone.compare(*options)
    assert done.returncode == 2
    assert said in done.stderr


@jit_only
@pytest.mark.slow
@pytest.mark.timeout(900)
def test_half_as_slow_again_is_seen(clone):
    clone.change(FORWARD, FORWARD + HALF_AGAIN, "Do half of the work twice")
    done = clone.compare("--bench", r"linear\.(Forward|Backward)")
    print(done.stdout)
    slower = set(re.findall(r"linear\.\w+\.\w+\([^)]*\)", done.stdout.partition("SLOWER")[2]))
    assert done.returncode == 1
    assert len(slower) == 8, "all shapes and dtypes of the task"
    assert all(name.startswith("linear.Forward") for name in slower), "and none of the task beside it"


@jit_only
@pytest.mark.slow
@pytest.mark.timeout(3000)
def test_a_comment_is_not_seen_in_ten_comparisons(clone):
    clone.change(FORWARD, "    # y = x W + b\n" + FORWARD, "Comment on the product")
    for _ in range(10):
        done = clone.compare("--bench", r"linear\.(Forward|Backward)|training\.Epochs.*, 1\)")
        print(done.stdout)
        assert done.returncode == 0, done.stdout + done.stderr
