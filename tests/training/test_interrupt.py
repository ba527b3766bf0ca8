"""Ctrl-C: a real signal, to a program of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROGRAM = """
import json, sys, warnings
import numpy as np
import fastmlp as fm
from helpers import eager_train, flat, make_data, make_net

class Same(fm.Module):
    def forward(self, x):
        return x
    def backward(self, dy):
        return dy

kind = sys.argv[1]
keywords = {"batch_size": 8, "rng": 0}
if kind == "python":
    warnings.simplefilter("ignore")
else:
    keywords["threads"] = int(kind)
X, y = make_data(50, 2, 3)

def build():
    model = fm.Sequential(make_net([2, 9, 3]), Same()) if kind == "python" else make_net([2, 9, 3])
    return model, fm.SGD(model.parameters(), lr=0.001, momentum=0.9)

model, optimizer = build()
fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, **keywords)  # compiles

model, optimizer = build()
print("begun", flush=True)
history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2**40, **keywords)
print("stopped", flush=True)

# The same again, without an interrupt: whole epochs by fit, the steps that are left by hand.
epochs, rest = divmod(optimizer.steps, 7)
twin, other = build()
if epochs:
    fm.fit(twin, fm.CrossEntropyLoss(), other, X, y, epochs=epochs, **keywords)
left = {"batch_size": 8, "rng": 0, "first_epoch": epochs, "epochs": epochs + 1, "steps": rest}
eager_train(twin, fm.CrossEntropyLoss(), other, X, y, **left)
print(json.dumps({
    "interrupted": history.interrupted,
    "losses": len(history.loss),
    "finite": bool(np.isfinite(flat(model)).all()),
    "steps": optimizer.steps,
    "same": bool((flat(twin) == flat(model)).all()),
}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize("kind", ["1", "2", "python"])
@pytest.mark.parametrize("delay", [0.02, 0.6])
def test_interrupt_stops_at_once_and_keeps_whole_steps(kind, delay):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", PROGRAM, kind], **pipes, text=True, env=environment) as process:
        try:
            assert process.stdout.readline() == "begun\n", process.stderr.read()
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            sent = time.perf_counter()
            line = process.stdout.readline()
            waited = time.perf_counter() - sent
            rest, errors = process.communicate(timeout=120)
        finally:
            process.kill()
    assert line == "stopped\n", errors
    assert process.returncode == 0, errors
    assert waited < 0.5
    result = json.loads(rest)
    assert result["interrupted"]
    assert result["finite"]
    assert result["losses"] == result["steps"] // 7
    assert result["same"]
    assert "fastmlp: interrupted in epoch" in errors
    assert "Traceback" not in errors
