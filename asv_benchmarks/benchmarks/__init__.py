"""Benchmarks of fastmlp for asv. Every number is lower-is-better; docs/benchmarks.md says how to read and write them.

What a process must have before anything else is imported: one thread for libraries that start their own (a benchmark's
threads are a parameter of it, never an accident of the machine), and for each commit a kernel cache of its own, so that none
is timed with another's machine code.
"""

from __future__ import annotations

import os
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"):
    os.environ[variable] = "1"

# asv names the commit it has installed. Where it has installed none (--python=same), the package's own cache serves: its folder
# is named by a hash of the kernels.
if os.environ.get("ASV_COMMIT"):
    os.environ["NUMBA_CACHE_DIR"] = str(Path(__file__).parents[1] / ".asv" / "kernels" / os.environ["ASV_COMMIT"])
