from __future__ import annotations

import json
import subprocess
from types import SimpleNamespace

import pytest
from asv.results import Results, iter_results_for_machine
from commands import history, side
from commands.side import BenchmarkError, Commit


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose first commit has no pyproject.toml, and whose third leaves the package alone."""
    monkeypatch.setattr(side, "HERE", tmp_path / "asv_benchmarks")

    def git(*arguments):
        subprocess.run(
            ["git", "-c", "user.name=a", "-c", "user.email=a@b", *arguments], cwd=tmp_path, check=True, capture_output=True
        )

    def commit(title, **files):
        for name, text in files.items():
            path = tmp_path / name.replace("__", "/")
            path.parent.mkdir(exist_ok=True)
            path.write_text(text)
        git("add", "--all")
        git("commit", "-m", title)

    git("init", "--quiet")
    commit("first", fastmlp__a="1")
    (tmp_path / "pyproject.toml").write_text("")
    commit("second", fastmlp__a="2")
    commit("third", readme="3")
    commit("fourth", fastmlp__a="4")
    return tmp_path


def titles(hashes):
    return [Commit(commit).title.partition(" ")[2] for commit in hashes]


def test_commits_that_change_the_package(repository):
    built, unbuilt = history.commits()
    assert [titles(some) for some in (built, unbuilt)] == [["fourth", "second"], ["first"]]
    assert [titles(some) for some in history.commits("HEAD~1")] == [["fourth", "third"], []]


def test_commits_are_spread_evenly_or_named(repository, capsys):
    assert titles(commit.hash for commit in history.chosen(["9"], None)) == ["fourth", "second"]
    assert "first (it has no pyproject.toml" in capsys.readouterr().out
    assert titles(commit.hash for commit in history.chosen(["1"], None)) == ["fourth"]
    assert titles(commit.hash for commit in history.chosen(["HEAD~1", "HEAD"], None)) == ["third", "fourth"]
    with pytest.raises(SystemExit):
        history.chosen(["no-such-revision"], None)
    assert "git knows no commit 'no-such-revision'" in capsys.readouterr().err


def test_what_was_before_the_package_is_left_out_with_a_reason(repository, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench-history", "m", "5", "--list"])
    assert history.main() == 0
    said = capsys.readouterr().out
    assert "first (it has no pyproject.toml" in said
    assert said.index("fourth") < said.index("second")


class FakeSide:
    """A side whose turns take as long as its commit is called; it notes when it has had one."""

    def __init__(self, seconds, had, lacks=False, fails=False):
        self.commit, self.had, self.lacks, self.fails = Commit(str(seconds)), had, lacks, fails

    def ask(self, request, *_):
        if self.fails:
            raise BenchmarkError(self, "ValueError: x")
        if request == "turn":
            self.had.append(self.commit.hash)
        return not self.lacks if request == "prepare" else float(self.commit.hash)


def test_commits_take_turns_and_another_one_is_first_each_time():
    had = []
    sides = [FakeSide(1, had), FakeSide(2, had), FakeSide(3, had, lacks=True), FakeSide(4, had, fails=True)]
    samples = {one.commit: {} for one in sides}
    wrong = history.measure(sides, {"name": "a", "quick": True}, 5, samples)
    assert wrong == ["fails at 4: ValueError: x"]
    assert had == ["1", "2", "2", "1"] * (history.TURNS // 2)
    assert [samples[one.commit] for one in sides] == [{("a", 5): [1.0] * 6}, {("a", 5): [2.0] * 6}, {}, {}]


def test_results_are_kept_beside_others_as_asv_reads_them(tmp_path, monkeypatch):
    monkeypatch.setattr(history, "RESULTS", tmp_path)
    (tmp_path / "m").mkdir()
    (tmp_path / "m" / "machine.json").write_text(json.dumps({"machine": "m", "cpu": "x", "version": 1}))
    environment = SimpleNamespace(python="3.11", requirements={"numpy": "2"}, name="env", env_vars={})
    listed = {
        "a": {"name": "a", "params": [["1", "2", "3"]], "version": "1", "combinations": ["(1)", "(2)", "(3)"]},
        "b": {"name": "b", "params": [], "version": "2", "combinations": [""]},
    }
    commit = Commit.of("HEAD")
    history.keep("m", environment, commit, {("a", 0): [0.123456] * 9 + [9.0]}, listed)
    history.keep("m", environment, commit, {("a", 2): [3.0, 1.0, 2.0], ("b", 0): [7]}, listed)
    (results,) = iter_results_for_machine(str(tmp_path), "m")
    assert isinstance(results, Results)
    assert results.commit_hash == commit.hash
    assert results.params == {"machine": "m", "cpu": "x", "python": "3.11", "numpy": "2"}
    assert results.benchmark_version == {"a": "1", "b": "2"}
    first, second, third = results.get_result_value("a", listed["a"]["params"])
    assert (first, third, second != second) == (0.1235, 1.2, True), "four digits; what was not measured is no number"
    assert results.get_result_value("b", []) == [7.0]
    (file,) = (path for path in (tmp_path / "m").iterdir() if path.name != "machine.json")
    assert len(file.read_text()) < 1000
