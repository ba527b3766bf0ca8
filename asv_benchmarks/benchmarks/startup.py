"""Start-up, in a fresh interpreter each: the import, and the first epoch with a warm kernel cache."""

from __future__ import annotations

import subprocess
import sys
import textwrap

FIRST_EPOCH = """
    import fastmlp as fm
    X, y = fm.datasets.make_disc(100, rng=0)
    model = fm.Sequential(fm.Linear(2, 25), fm.ReLU(), fm.Linear(25, 2))
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=1, progress=False)
"""


class Startup:
    """Whole processes' worth of Python, without the interpreter's own start."""

    number = 1
    repeat = 5
    rounds = 1

    def setup_cache(self):
        subprocess.run([sys.executable, "-c", textwrap.dedent(FIRST_EPOCH)], check=True)  # compiles, once for each commit

    def timeraw_import(self):
        return "import fastmlp"

    def timeraw_first_epoch_warm(self):
        return FIRST_EPOCH
