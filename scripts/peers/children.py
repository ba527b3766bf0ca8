"""Fresh processes: how long one takes, and how much memory.

Imported by the children too: it imports nothing that they might measure.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

__all__ = ["peak_memory", "run_child", "seconds_of"]

SCRIPTS = Path(__file__).parents[1]


def run_child(code: str, **environment: str) -> str:
    """Run Python code in a fresh process, which finds this package and keeps .pyc files; return what it printed."""
    variables = {**os.environ, **environment}
    variables.pop("PYTHONDONTWRITEBYTECODE", None)
    variables["PYTHONPATH"] = os.pathsep.join([str(SCRIPTS), *filter(None, sys.path)])
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True, env=variables)
    if done.returncode:
        sys.exit(f"compare_peers: a process of its own failed at {code!r}:\n{done.stderr}")
    return done.stdout


def seconds_of(code: str, **environment: str) -> float:
    """How long a fresh process takes from its start to its end."""
    began = time.perf_counter()
    run_child(code, **environment)
    return time.perf_counter() - began


def peak_memory() -> int:
    """The most bytes of memory that this process has had so far.

    From /proc where there is one: ``ru_maxrss`` of a process that another one has started is not below what that one had.
    """
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) * 1024
    except OSError:
        pass
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024
