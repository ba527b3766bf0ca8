from __future__ import annotations

import subprocess

import pytest
from commands import history


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """A repository whose first commit cannot be built, and whose third leaves the package alone."""
    monkeypatch.setattr(history, "HERE", tmp_path / "asv_benchmarks")

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


def test_commits_that_change_the_package(repository):
    built, unbuilt = history.commits()
    titles = [[history.git("log", "-1", "--format=%s", commit)[0] for commit in some] for some in (built, unbuilt)]
    assert titles == [["fourth", "second"], ["first"]]


def test_what_cannot_be_built_is_left_out_with_a_reason(repository, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["bench-history", "5", "m", "--list"])
    assert history.main() == 0
    said = capsys.readouterr().out
    assert "first (it has no pyproject.toml" in said
    assert said.index("fourth") < said.index("second")
