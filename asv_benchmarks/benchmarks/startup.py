"""Start-up, in a fresh interpreter each: the import, the first epoch, all ways of use, with and without a kernel cache.

Whole processes' worth of Python, without the interpreter's own start.
"""

from __future__ import annotations

import subprocess
import sys
import textwrap
from functools import cache

from .setting import Timed, pin

FIRST_EPOCH = """
    import fastmlp as fm
    X, y = fm.datasets.make_disc(100, rng=0)
    model = fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 2))
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=1, progress=False)
"""

ALL_WAYS = (
    FIRST_EPOCH
    + """
    model.predict(X)
    criterion, optimizer = fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1)
    criterion(model(X), y)
    optimizer.zero_grad()
    model.backward(criterion.backward())
    optimizer.step()
"""
)

# The folder goes when the interpreter ends, after the time has been taken.
EMPTY_CACHE = """
    import atexit, os, shutil, tempfile
    os.environ["NUMBA_CACHE_DIR"] = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, os.environ["NUMBA_CACHE_DIR"], True)
"""


@cache
def compiled() -> None:
    """Leave the kernels in the commit's cache."""
    subprocess.run([sys.executable, "-c", textwrap.dedent(ALL_WAYS)], check=True, stderr=subprocess.DEVNULL)


class Startup(Timed):
    """An import, with it an epoch, and a prediction and a step by hand too: the kernels compiled before."""

    repeat = 4
    warmup_time = 0

    def setup(self):
        pin(1)
        compiled()

    def timeraw_import(self):
        return "import fastmlp"

    def timeraw_first_epoch_warm(self):
        return FIRST_EPOCH

    def timeraw_all_ways_warm(self):
        return ALL_WAYS


class Cold(Timed):
    """The same where nothing has been compiled."""

    repeat = 1
    warmup_time = 0
    timeout = 120

    def setup(self):
        pin(1)

    def timeraw_first_epoch_cold(self):
        return FIRST_EPOCH, EMPTY_CACHE

    def timeraw_all_ways_cold(self):
        return ALL_WAYS, EMPTY_CACHE
