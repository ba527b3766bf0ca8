"""Train the same random networks at another revision and here, and say whether the parameters agree to the bit.

    python scripts/same_bits.py <revision> [networks]

Widths, activations, biases, both losses, all options of SGD, schedules, batch sizes, both dtypes, one thread and two, `fit` and
the loop by hand are drawn for each network. Only what both revisions have in public may stand here.
"""

from __future__ import annotations

import hashlib
import io
import os
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]

#: Later Pythons want to be told that an archive is one of files only.
SAFELY = {"filter": "data"} if hasattr(tarfile, "data_filter") else {}


def network(fm, rng, dtype):
    width = int(rng.choice([1, 2, 5, 16, 17, 30, 64]))
    outputs = int(rng.choice([2, 3, 10, 17]))
    kinds = [fm.ReLU, fm.Tanh, fm.Sigmoid, fm.Identity]
    modules, before = [], width
    for after in rng.choice([1, 2, 3, 7, 8, 16, 17, 25, 33, 48, 49, 64, 65, 100, 130, 260], size=rng.integers(1, 5)):
        modules.append(fm.Linear(before, int(after), bias=bool(rng.integers(4))))
        modules += [kinds[rng.integers(4)]() for _ in range(rng.choice([0, 1, 1, 1, 2]))]
        before = int(after)
    modules.append(fm.Linear(before, outputs))
    if rng.integers(4) == 0:
        modules.insert(0, kinds[rng.integers(4)]())
    return fm.Sequential(*modules, dtype=dtype), width, outputs


def optimizer(fm, rng, model):
    momentum = float(rng.choice([0, 0, 0.5, 0.9]))
    nesterov = bool(momentum and rng.integers(2))
    dampening = 0.0 if nesterov or not momentum else float(rng.choice([0, 0.3]))
    decay = float(rng.choice([0, 0, 0.01]))
    options = {"momentum": momentum, "nesterov": nesterov, "dampening": dampening, "weight_decay": decay}
    return fm.SGD(model.parameters(), lr=float(rng.choice([0.002, 0.01])), **options)


def trained(fm, i):
    """What network number i was trained on, and a hash of its parameters and predictions after that."""
    rng = np.random.default_rng(1000 + i)
    dtype, threads = [np.float32, np.float64][i % 2], [1, 2][i // 2 % 2]
    labels, fused = i // 4 % 2 == 0, i // 8 % 2 == 0
    model, width, outputs = network(fm, rng, dtype)
    model.reset_parameters(rng=i)
    rows = int(rng.integers(20, 150))
    X = rng.standard_normal((rows, width)).astype(dtype)
    y = rng.integers(outputs, size=rows) if labels else rng.standard_normal((rows, outputs)).astype(dtype)
    descent = optimizer(fm, rng, model)
    criterion = fm.CrossEntropyLoss() if labels else fm.MSELoss()
    size, epochs = int(rng.choice([1, 7, 16, 33, 64, 100])), int(rng.integers(2, 5))
    schedule = fm.CosineAnnealingLR(descent, T_max=10) if rng.integers(2) else None
    if fused:
        fm.fit(model, criterion, descent, X, y, epochs=epochs, batch_size=size, rng=i, schedule=schedule, threads=threads)
    else:
        for _ in range(epochs):
            for first in range(0, rows, size):
                criterion(model(X[first : first + size]), y[first : first + size])
                descent.zero_grad()
                model.backward(criterion.backward())
                descent.step()
            if schedule is not None:
                schedule.step()
    numbers = [*(np.ascontiguousarray(parameter.data) for parameter in model.parameters()), model.predict(X)]
    assert all(np.isfinite(array).all() for array in numbers)
    how = f"fit on {threads}" if fused else "by hand"
    kind = f"{np.dtype(dtype)}, {'labels' if labels else 'targets'}, {how}"
    return f"{i:3} {kind:28} {hashlib.sha256(b''.join(array.tobytes() for array in numbers)).hexdigest()[:16]}"


def worker(networks):
    import fastmlp as fm

    for i in range(networks):
        print(trained(fm, i), flush=True)


def run(folder, kernels, networks):
    """What a worker prints that takes the package from a folder, and keeps its kernels in another."""
    environment = {**os.environ, "PYTHONPATH": str(folder), "NUMBA_CACHE_DIR": str(kernels)}
    command = [sys.executable, __file__, "--worker", str(networks)]
    done = subprocess.run(command, env=environment, check=True, stdout=subprocess.PIPE, text=True, cwd=folder)
    return done.stdout.splitlines()


def main(revision, networks=40):
    with tempfile.TemporaryDirectory() as folder:
        archive = subprocess.run(["git", "archive", revision, "fastmlp"], cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as files:
            files.extractall(folder, **SAFELY)
        there, here = (run(root, Path(folder) / "kernels", networks) for root in (folder, ROOT))
    different = [(a, b) for a, b in zip(there, here) if a != b]
    print(*here, sep="\n")
    for a, b in different:
        print(f"differs: {a} there,\n         {b} here")
    print(f"{len(here) - len(different)} of {len(here)} networks have the same bits as at {revision}")
    return 1 if different else 0


if __name__ == "__main__":
    if sys.argv[1] == "--worker":
        worker(int(sys.argv[2]))
    else:
        sys.exit(main(sys.argv[1], *map(int, sys.argv[2:3])))
