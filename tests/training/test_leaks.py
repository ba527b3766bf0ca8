"""Training, saving and loading again and again takes no more memory than the first times."""

from __future__ import annotations

from pathlib import Path

import pytest
from helpers import jit_only, run_python

pytestmark = [
    pytest.mark.once,
    jit_only,
    pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads Linux's record of a process"),
]

AGAIN = """
import gc, os, shutil, sys
import numpy as np
import fastmlp as fm

os.fsync = lambda handle: None  # a disk that confirms at once
folder, count = sys.argv[1], int(sys.argv[2])
rng = np.random.default_rng(0)
X, y = rng.normal(size=(300, 20)).astype(np.float32), rng.integers(3, size=300)
kept = fm.Sequential(fm.Linear(20, 64, rng=0), fm.BatchNorm1d(64), fm.ReLU(), fm.Dropout(0.1, rng=0), fm.Linear(64, 3, rng=1))
rule = fm.Adam(kept.parameters())


def once(number):
    # Objects made anew, and some that stay; with callbacks, validation, a schedule, checkpoints, and an end by an exception.
    model = fm.Sequential(fm.Linear(20, 64, rng=number), fm.Tanh(), fm.Linear(64, 3, rng=number))
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule = fm.StepLR(optimizer, 2)
    options = {"batch_size": 50, "validation": 0.2, "rng": number, "schedule": schedule, "progress": False}
    options |= {"checkpoint": folder + "/run", "resume": True}
    stop = fm.EarlyStopping(patience=5)

    def fail(epoch, history):
        if epoch == 1 and number % 2:
            raise ZeroDivisionError

    try:
        history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=2, callbacks=[stop, fail], **options)
    except ZeroDivisionError:
        history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, callbacks=[stop], **options)
    fm.save(folder + "/file", model, optimizer, schedule, history)
    fm.load(folder + "/file").predict(X)
    again = fm.load_checkpoint(folder + "/file")
    fm.fit(again.model, fm.CrossEntropyLoss(), again.optimizer, X, y, epochs=1, schedule=again.schedule, progress=False)
    fm.fit(kept, fm.CrossEntropyLoss(), rule, X, y, epochs=1, batch_size=50, rng=0, progress=False)
    fm.save(folder + "/kept", kept, rule)
    kept.load_state_dict(fm.load(folder + "/kept").state_dict())
    shutil.rmtree(folder + "/run")


def now():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE"), len(gc.get_objects())


before = None
for number in range(count):
    if number == count // 4:
        before = now()
    once(number)
after = now()
print(*before, *after)
"""


def grown(folder, count):
    """By how many bytes, and objects, a process has grown after a quarter of so many rounds."""
    rss, objects, rss_after, objects_after = map(int, run_python(AGAIN, folder, count, timeout=1000).split())
    print(f"{count} rounds: {rss / 1e6:.1f} -> {rss_after / 1e6:.1f} MB, {objects} -> {objects_after} objects")
    return rss_after - rss, objects_after - objects


def test_memory_stays_as_it_is(tmp_path):
    bytes_more, objects_more = grown(tmp_path, 200)
    assert bytes_more < 4e6
    assert objects_more < 60


@pytest.mark.slow
@pytest.mark.timeout(1200)
def test_memory_stays_as_it_is_for_2000_rounds(tmp_path):
    bytes_more, objects_more = grown(tmp_path, 2000)
    assert bytes_more < 4e6
    assert objects_more < 60
