"""Memory: the peak of a training run, and what its steps allocate."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from .networks import trainer
from .setting import pin

# VmHWM, not ru_maxrss: the latter begins, in a process that another one starts, at what that one had. The first fit leaves the
# kernels in the cache: a compiler takes more than a training.
TRAIN = """
import numpy as np
import fastmlp as fm

rng = np.random.default_rng(0)
X, y = rng.standard_normal((4096, 784), np.float32), rng.integers(10, size=4096)
model = fm.Sequential(fm.Linear(784, 1024), fm.ReLU(), fm.Linear(1024, 1024), fm.ReLU(), fm.Linear(1024, 10))
model.reset_parameters(rng=0)
criterion, optimizer = fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.01, momentum=0.9)
fm.fit(model, criterion, optimizer, X, y, epochs=1, batch_size=256, threads=1, progress=False)
with open("/proc/self/status") as file:
    print(next(int(line.split()[1]) * 1024 for line in file if line.startswith("VmHWM:")))
"""


class Peak:
    """An epoch of 784-1024-1024-10 on 4096 rows, with momentum: 13 MB of data, 22 MB of parameters, gradients, velocities."""

    def setup(self):
        if not Path("/proc/self/status").exists():
            raise NotImplementedError("reads Linux's record of a process")
        pin(1)

    def track_peak_of_training(self):
        for _ in range(2):  # the first may compile
            done = subprocess.run([sys.executable, "-c", TRAIN], check=True, capture_output=True, text=True)
        return int(done.stdout)

    track_peak_of_training.unit = "bytes"


class Allocations:
    """Allocations by Numba's memory manager for each step, with those of the call of ``fit`` for 1000 steps."""

    params = (["disc-b100", "disc-tanh-b100"], [1, 2])
    param_names = ("workload", "threads")

    def setup(self, workload, threads):
        pin(threads)
        self.train = trainer(workload, threads)

    def track_allocations_per_step(self, workload, threads):
        from numba.core.runtime import _nrt_python, rtsys

        _nrt_python.memsys_enable_stats()
        try:
            before = rtsys.get_allocation_stats().alloc
            self.train(100, 1000)
            return (rtsys.get_allocation_stats().alloc - before) / 1000
        finally:
            _nrt_python.memsys_disable_stats()

    track_allocations_per_step.unit = "allocations"
