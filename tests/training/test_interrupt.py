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

kind, validated = sys.argv[1], sys.argv[2] == "True"
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
held_out = (X, y) if validated else None
schedule = fm.CosineAnnealingLR(optimizer, 2**40)
try:
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2**40, validation=held_out, schedule=schedule, **keywords)
except KeyboardInterrupt as interrupt:
    history = interrupt.history
print("stopped", flush=True)

# The same again, without an interrupt: whole epochs by fit, the steps that are left by hand.
epochs, rest = divmod(optimizer.steps, 7)
twin, other = build()
if epochs:
    fm.fit(twin, fm.CrossEntropyLoss(), other, X, y, epochs=epochs, schedule=fm.CosineAnnealingLR(other, 2**40), **keywords)
left = {"batch_size": 8, "rng": 0, "first_epoch": epochs, "epochs": epochs + 1, "steps": rest}
eager_train(twin, fm.CrossEntropyLoss(), other, X, y, **left)
print(json.dumps({
    "interrupted": history.interrupted,
    "losses": [len(history.loss), schedule.last_epoch, len(history.validation_loss) if validated else len(history.loss)],
    "finite": bool(np.isfinite(flat(model)).all()),
    "steps": optimizer.steps,
    "same": bool((flat(twin) == flat(model)).all()),
}))
"""


@pytest.mark.skipif(sys.platform == "win32", reason="sends a POSIX signal")
@pytest.mark.parametrize(
    ("kind", "delay", "validated"), [("1", 0.02, False), ("1", 0.3, True), ("2", 0.4, False), ("python", 0.3, True)]
)
def test_interrupt_stops_at_once_and_keeps_whole_steps(kind, delay, validated):
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    with subprocess.Popen(
        [sys.executable, "-c", PROGRAM, kind, str(validated)], **pipes, text=True, env=environment
    ) as process:
        try:
            assert process.stdout.readline() == "begun\n", process.stderr.read()
            time.sleep(delay)
            process.send_signal(signal.SIGINT)
            sent = time.perf_counter()
            line = process.stdout.readline()
            waited = time.perf_counter() - sent
            # Not communicate(), which passes over what readline() has read ahead.
            rest, errors = process.stdout.read(), process.stderr.read()
            process.wait(timeout=120)
        finally:
            process.kill()
    assert line == "stopped\n", errors
    assert process.returncode == 0, errors
    assert waited < 0.5
    result = json.loads(rest)
    assert result["interrupted"]
    assert result["finite"]
    assert result["losses"] == [result["steps"] // 7] * 3, "losses, schedule and validation losses are not in step"
    assert result["same"]
    assert errors == ""
