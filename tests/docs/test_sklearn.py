"""The programs of docs/sklearn.md run as they stand and print what stands below them."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from helpers import jit_only

pytest.importorskip("sklearn")
pytest.importorskip("pandas")

from fastmlp.sklearn import MLPClassifier, MLPRegressor

TEXT = (Path(__file__).parents[2] / "docs/sklearn.md").read_text()

PROGRAM = re.compile(r"```python\n(.*?)```\n(?:\n```\n(.*?)```\n)?", re.DOTALL)
NUMBER = re.compile(r"\d+(?:\.\d+)?")


@jit_only
def test_programs_of_the_page_run(capsys):
    names = {"__name__": "page"}
    for program, expected in PROGRAM.findall(TEXT):
        exec(compile(program, "page", "exec"), names)
        out = capsys.readouterr().out
        assert NUMBER.sub("#", out) == NUMBER.sub("#", expected)
        for came, stands in zip(NUMBER.findall(out), NUMBER.findall(expected), strict=True):
            assert abs(float(came) - float(stands)) <= 0.05 * abs(float(stands)) + 0.02, (out, expected)


@pytest.mark.once
def test_arguments_of_the_page_are_there():
    own = TEXT[TEXT.index("## What it has beyond") : TEXT.index("```python\nimport fastmlp")]
    named = set(re.findall(r"`(\w+)=", own)) - {"validation_data"}
    arguments = set(MLPClassifier().get_params()) | set(MLPRegressor().get_params())
    assert named <= arguments
    for argument in ("loss", "activation", "dropout", "class_weight", "scoring", "callbacks", "n_threads", "dtype"):
        assert argument in named, argument
