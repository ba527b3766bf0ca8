"""The command line: ``python -m fastmlp``."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from helpers import JIT, jit_only, run_python

import fastmlp
from fastmlp import __main__ as command

PACKAGE = Path(fastmlp.__file__).parent

#: What is called from Python, and the blocks that are no formula.
KERNELS = {
    f"{path.stem}.{name}"
    for path in (PACKAGE / "kernels").rglob("*.py")
    for name in re.findall(r"^@kernel\ndef (\w+)", path.read_text(), re.MULTILINE)
} | {
    name
    for path in (PACKAGE / "kernels" / "blocks").glob("*.py")
    for name in re.findall(r'^@block\(\s*"(\w+)"', path.read_text(), re.MULTILINE)
}

WARM_UP = """
import os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
from fastmlp.__main__ import main
assert main(["warmup", "--dtype", "float32", "float32"]) == 0
print("numba.np.linalg" in sys.modules)
"""

# What users may do with float32, in ways that could need other machine code than the warm-up.
USE = """
import os, sys
os.environ["NUMBA_CACHE_DIR"] = sys.argv[1]
sys.path.insert(0, sys.argv[2])
import numpy as np, fastmlp as fm
from fastmlp.kernels.compiler import jit
from fastmlp import registry
from golden import inputs
X, y = fm.datasets.make_disc(40, rng=0)
X.flags.writeable = False
def made(family, *arguments):
    return [kind(*arguments, **case) for kind in family.values() for case in kind.cases]
activations = made(registry.activations())
criteria = [registry.made(kind, case, 2) for kind in registry.criteria().values() for case in kind.cases]
layers = [registry.made(kind, case, 4) for kind in registry.layers().values() for case in kind.cases]
parts = [part for module in activations + layers for part in (fm.Linear(4, 4), module)]
model = fm.Sequential(fm.Linear(2, 4), *made(registry.activations()), *parts, fm.Linear(4, 2, bias=False), fm.Sigmoid())
model.reset_parameters(rng=0)
optimizers = made(registry.optimizers(), list(model.parameters()))
assert len(activations) > 2 and len(criteria) > 1 and len(optimizers) > 2
for i in range(max(len(criteria), len(optimizers))):
    criterion, optimizer = criteria[i % len(criteria)], optimizers[i % len(optimizers)]
    drawn = inputs.targets(criterion.targets[0], (40, 2), np.random.default_rng(0), criterion.outputs)
    targets = drawn if drawn.ndim == 1 else np.asfortranarray(drawn, np.float32)
    schedule = fm.CosineAnnealingLR(optimizer, T_max=2)
    fm.fit(model, criterion, optimizer, X, targets, epochs=2, threads=2, schedule=schedule, validation=(X[::2], targets[::2]))
    fm.fit(model, criterion, optimizer, X[::-1], targets.tolist(), epochs=1, shuffle=False, drop_last=True)
    criterion(model(X[:7]), targets[:7])
    model.backward(criterion.backward())
    optimizer.step()
model.predict(X.astype(float), out=np.empty((40, 2), np.float32), threads=2)
for part in activations + parts:
    part.backward(part(np.ones((3, 4), np.float32)))
model = fm.Sequential(fm.Linear(2, 2))
try:
    fm.fit(model, fm.MSELoss(), fm.SGD(model.parameters(), lr=1e38), X, X, epochs=9)
except fm.NonFiniteLossError:
    print([entry.name for entry in jit.history if entry.compiled], "numba.np.linalg" in sys.modules)
"""


def test_info_says_what_is_here(capsys):
    assert command.main(["info"]) == 0
    out = capsys.readouterr().out
    facts = dict(line.split(maxsplit=1) for line in out.splitlines())
    assert facts["fastmlp"] == fastmlp.__version__
    assert f"numba {numba.__version__}" in facts["libraries"]
    assert facts["kernels"].startswith("compiled" if JIT else "plain Python")
    assert command.cache_folder in facts["cache"]


def test_info_without_a_cache(capsys, monkeypatch):
    monkeypatch.setattr(command, "cache_folder", "")
    assert command.main(["info"]) == 0
    assert "NUMBA_CACHE_DIR" in capsys.readouterr().out


def test_help_names_the_commands(capsys):
    with pytest.raises(SystemExit, match="0"):
        command.main(["--help"])
    out = capsys.readouterr().out
    assert "warmup" in out
    assert "info" in out


@pytest.mark.parametrize("arguments", [[], ["warm"], ["warmup", "--dtype", "float16"], ["warmup", "--dtype"], ["info", "all"]])
def test_wrong_command_line_is_refused(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        command.main(arguments)
    assert "error:" in capsys.readouterr().err


@pytest.mark.parametrize("missing", ["COMPILING", "cache_folder"])
def test_warmup_that_would_be_in_vain_is_refused(missing, capsys, monkeypatch):
    monkeypatch.setattr(command, "COMPILING", True)
    monkeypatch.setattr(command, missing, "")
    assert command.main(["warmup"]) == 1
    out, errors = capsys.readouterr()
    assert out == ""
    assert errors.count("\n") == 1
    assert ("NUMBA_DISABLE_JIT" if missing == "COMPILING" else "NUMBA_CACHE_DIR") in errors


def test_module_runs():
    done = subprocess.run([sys.executable, "-m", "fastmlp", "--version"], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == fastmlp.__version__


def test_info_says_what_is_wrong_with_the_limit_of_threads(capsys, monkeypatch):
    monkeypatch.setenv("FASTMLP_NUM_THREADS", "x")
    assert command.main(["info"]) == 0
    out = capsys.readouterr().out
    assert re.search(r"^threads +the environment variable FASTMLP_NUM_THREADS must be .* got 'x'$", out, re.MULTILINE)


@jit_only
def test_after_warmup_nothing_is_compiled(tmp_path):
    """Nor is what Numba's compiler needs even loaded: half of the time to the first epoch."""
    count = 0
    for compiled in (True, False):
        done = subprocess.run([sys.executable, "-c", WARM_UP, tmp_path], capture_output=True, text=True, check=True)
        assert done.stderr == ""
        out = done.stdout
        names = re.findall(r"^  ([\w.-]+) +\d+\.\d\d s", out, re.MULTILINE)
        count = len(names)
        assert set(names) >= KERNELS | {"elementwise-tanh", "loss-mseloss", "update-sgd-0", "update-sgd-1"}
        assert all(names.count(name) == 1 for name in KERNELS)
        assert out.startswith("float32\n")
        assert out.count(" s  from the cache\n") == (0 if compiled else count)
        assert f"{count * compiled} compiled, {count * (not compiled)} from the cache" in out
        assert str(tmp_path) in out
        assert f"({count} files, " in out
        assert out.endswith(f"{compiled}\n")
    assert run_python(USE, tmp_path, Path(__file__).parent) == "[] False\n"


@jit_only
def test_warmup_says_nothing_beside_its_table():
    """In the cache that the other tests fill: most of it is there."""
    command = [sys.executable, "-m", "fastmlp", "warmup", "--dtype", "float64"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert done.stderr == ""
    assert done.stdout.startswith("float64\n")
