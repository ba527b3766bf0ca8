"""The programs of README.md and docs/guide.md run as they stand, one after the other, and print what stands below them."""

import re
import warnings
from pathlib import Path

import numpy as np
import pytest
from helpers import jit_only

import fastmlp as fm
from fastmlp import registry

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
GUIDE = (ROOT / "docs/guide.md").read_text()

#: A program, and what it prints where something stands below it.
PROGRAM = re.compile(r"```python\n(.*?)```\n(?:\n```\n(.*?)```\n)?", re.DOTALL)
NUMBER = re.compile(r"\d[\d,]*(?:\.\d+)?(?:e[-+]\d+)?")


def run(text, printed):
    """Run the programs of a page, where each sees the names of those before, and return these names."""
    names = {"__name__": "page"}
    for program, expected in PROGRAM.findall(text):
        exec(compile(program, "page", "exec"), names)
        check_printed(printed().out, expected)
    return names


def check_printed(out, expected):
    """The same text; numbers that training ends with, and seconds, are those of a machine, and nearly the same elsewhere."""
    assert NUMBER.sub("#", out) == NUMBER.sub("#", expected)
    seconds = re.compile(r"after [\d.]+ s")
    for came, stands in zip(numbers(seconds.sub("", out)), numbers(seconds.sub("", expected)), strict=True):
        assert abs(came - stands) <= 0.3 * abs(stands) + 0.2, (out, expected)


def numbers(text):
    return [float(number.replace(",", "")) for number in NUMBER.findall(text)]


@jit_only
def test_programs_of_the_readme_run(capsys, monkeypatch, tmp_path):
    pytest.importorskip("sklearn", reason="a program takes its digits")
    monkeypatch.chdir(tmp_path)
    names = run(README, capsys.readouterr)
    X = fm.datasets.make_disc(1000, rng=0)[0]
    y = X[:, :1]
    model = fm.Sequential(fm.Linear(2, 9, rng=0), names["bump"], fm.Linear(9, 1, rng=1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # nothing runs in Python
        history = fm.fit(model, names["log_cosh"], fm.Adam(model.parameters(), lr=0.01), X, y, epochs=20, rng=0)
        assert history.loss[-1] < 0.2 * history.loss[0]
        before = history.loss[-1]
        history = fm.fit(model, names["log_cosh"], names["SignDescent"](model.parameters(), lr=1e-4), X, y, epochs=5, rng=0)
        assert history.loss[-1] < before
    d = np.abs(model.predict(X) - y)
    assert np.isclose(names["log_cosh"](model.predict(X), y), np.log(np.cosh(d)).mean(), rtol=1e-3)


@pytest.mark.once
def test_the_way_from_data_to_a_saved_model_is_short():
    (program,) = (program for program, _ in PROGRAM.findall(README) if "load_digits" in program)
    assert all(name in program for name in ("Standardize", "EarlyStopping", "evaluate", "fm.save", "fm.load", "predict_labels"))
    assert len([line for line in program.splitlines() if line.strip()]) <= 9


@jit_only
def test_programs_of_the_guide_run(capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("scipy")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run(GUIDE, capsys.readouterr)


@pytest.mark.once
def test_the_catalogue_is_whole():
    catalogue = README[README.index("## What there is") : README.index("## A classification")]
    for row in registry.table():
        assert f"`{row.name}`" in catalogue, row.name
    for name in re.findall(r"`(\w+)`", catalogue):
        assert hasattr(fm, name) or name == "help", name


@pytest.mark.once
def test_links_lead_somewhere():
    for page, text in ((ROOT / "README.md", README), (ROOT / "docs/guide.md", GUIDE)):
        for target in re.findall(r"\]\(([^)]+)\)", text):
            file, _, anchor = target.partition("#")
            linked = (page.parent / file) if file else page
            assert linked.exists(), target
            if anchor:
                titles = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
                anchors = {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}
                assert anchor in anchors, target


@pytest.mark.once
def test_names_of_the_package_are_there():
    for name in re.findall(r"\bfm\.(\w+)", README + GUIDE):
        assert hasattr(fm, name), name
