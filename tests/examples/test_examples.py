"""The examples run, say how much faster compiled code is, and draw."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from helpers import jit_only

EXAMPLES = Path(__file__).parents[2] / "examples"
pytestmark = [pytest.mark.once, jit_only]


def ran(name, folder, *options):
    """What an example prints; how many times faster it says to be; warnings are errors."""
    pytest.importorskip("matplotlib")
    pytest.importorskip("scipy")
    command = [sys.executable, "-W", "error", EXAMPLES / name, "--output", folder, *options]
    done = subprocess.run(command, check=False, capture_output=True, text=True, timeout=250, cwd=folder)
    assert done.returncode == 0, done.stderr
    picture = folder / name.replace(".py", ".png")
    assert f"wrote {picture}" in done.stdout
    assert picture.read_bytes()[:4] == b"\x89PNG"
    return done.stdout, int(re.search(r": (\d+) times", done.stdout)[1])


def test_ode(tmp_path):
    pytest.importorskip("numbalsoda")
    printed, times = ran("ode.py", tmp_path, "--epochs", "30", "--starts", "6")
    assert times > 1
    assert float(re.search(r"differ by at most (\S+)", printed)[1]) < 1e-4


def test_policy(tmp_path):
    printed, times = ran("policy.py", tmp_path, "--generations", "15", "--members", "32")
    assert times > 1
    first, last = map(int, re.search(r": (\d+) in the first generation, (\d+) in the last", printed).groups())
    assert last > 2 * first


def test_image(tmp_path):
    printed, times = ran("image.py", tmp_path, "--epochs", "5", "--size", "96")
    assert times > 1
    before, after = map(float, re.search(r"error of (\S+) before, (\S+) after", printed).groups())
    assert after < 0.5 * before
    assert "differ by at most 0.0e+00" in printed
