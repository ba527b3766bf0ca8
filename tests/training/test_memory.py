"""The most memory that a training takes."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import jit_only, run_python

# VmHWM, not ru_maxrss: the latter begins, in a process that another one starts, at what that one had.
TRAIN = """
import sys
import numpy as np
import fastmlp as fm

rng = np.random.default_rng(0)
rows, batch = int(sys.argv[1]), 256
X, y = rng.standard_normal((rows, 784), np.float32), rng.integers(10, size=rows)
model = fm.Sequential(fm.Linear(784, 1024), fm.ReLU(), fm.Linear(1024, 1024), fm.ReLU(), fm.Linear(1024, 10))
model.reset_parameters(rng=0)
criterion, optimizer = fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.01, momentum=0.9)
fm.fit(model, criterion, optimizer, X, y, epochs=1, batch_size=batch, rng=0)
parameters = sum(parameter.data.nbytes for parameter in model.parameters())
with open("/proc/self/status") as file:
    peak = next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:"))
print(X.nbytes + y.nbytes, parameters, peak)
"""


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="reads Linux's record of a process")
@jit_only
def test_fit_takes_little_more_than_data_and_parameters():
    """The compiler's memory aside: the first run leaves the kernels in the cache."""
    run_python(TRAIN, 256)
    data, parameters, peak = map(int, run_python(TRAIN, 40 * 256).split())
    assert (data, parameters) == (40 * 256 * (784 * 4 + 8), 4 * (785 * 1024 + 1025 * 1024 + 1025 * 10))
    assert peak < data + 6 * parameters + 200e6, f"{peak / 1e6:.0f} MB"
    assert peak > data + 3 * parameters, "parameters, gradients and velocities must be somewhere"
