"""Training in other processes: forked, spawned, and from several threads of each."""

from __future__ import annotations

import os
import sys

import pytest
from helpers import run_python

PREPARE = """
import multiprocessing, os, sys
import numpy as np
import fastmlp as fm

def train(threads):
    X, y = fm.datasets.make_disc(40, rng=0)
    model = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 2))
    model.reset_parameters(rng=0)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, batch_size=8, rng=0, threads=threads)
    return model.storage.data.tobytes() + model.predict(X, threads=threads).tobytes()
"""

FORK = (
    PREPARE
    + """
expected = train(2)
reader, writer = os.pipe()
child = os.fork()
if child == 0:
    os.close(reader)
    with os.fdopen(writer, "wb") as out:
        out.write(train(int(sys.argv[1])))
    os._exit(0)
os.close(writer)
with os.fdopen(reader, "rb") as file:
    received = file.read()
assert os.waitpid(child, 0)[1] == 0
assert received == expected
assert train(2) == expected  # and the parent goes on
"""
)

POOL = (
    PREPARE
    + """
if __name__ == "__main__":
    expected = train(1)
    with multiprocessing.get_context(sys.argv[1]).Pool(2) as pool:
        results = pool.map(train, [1, 2, 1])
    assert results == [expected] * 3
"""
)

SEND = (
    PREPARE
    + """
def go_on(objects):
    model, optimizer, X, y = objects
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=4, initial_epoch=2, batch_size=8, rng=0)
    return model, optimizer

if __name__ == "__main__":
    X, y = fm.datasets.make_disc(40, rng=0)
    model = fm.Sequential(fm.Linear(2, 5), fm.Tanh(), fm.Linear(5, 2))
    model.reset_parameters(rng=0)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, batch_size=8, rng=0)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        back, _ = pool.apply(go_on, ((model, optimizer, X, y),))
    go_on((model, optimizer, X, y))
    assert back.storage.data.tobytes() == model.storage.data.tobytes()
"""
)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system has no fork")
@pytest.mark.parametrize("threads", [1, 2])
def test_forked_child_trains(threads):
    run_python(FORK, threads)


def run_file(tmp_path, code, *arguments):
    """A spawned child imports the program again, so it must be a file."""
    (tmp_path / "program.py").write_text(code)
    run_python(
        "import runpy, sys; sys.argv = sys.argv[1:]; sys.path.insert(0, sys.argv[0].rsplit('/', 1)[0]);"
        "runpy.run_path(sys.argv[0], run_name='__main__')",
        tmp_path / "program.py",
        *arguments,
    )


@pytest.mark.parametrize("method", ["spawn", "forkserver"])
def test_pool_trains(method, tmp_path):
    if sys.platform == "win32" and method == "forkserver":
        pytest.skip("the system has no fork")
    run_file(tmp_path, POOL, method)


def test_model_goes_to_another_process_and_back(tmp_path):
    run_file(tmp_path, SEND)
