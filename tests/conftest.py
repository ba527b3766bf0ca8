from __future__ import annotations

import os
import signal

import numpy as np
import pytest
from hypothesis import settings

# A compile may fall into any example; the examples are the same every time.
settings.register_profile("fastmlp", deadline=None, derandomize=True, print_blob=True)
settings.load_profile("fastmlp")


# A job in the background inherits that Ctrl-C is ignored, and so would the programs that tests start and interrupt.
signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(params=[np.float32, np.float64], ids=["float32", "float64"])
def dtype(request):
    return np.dtype(request.param)


@pytest.fixture
def rng():
    return np.random.default_rng(20240521)


@pytest.fixture
def eight_cores(monkeypatch):
    """Eight cores, no quota, no limits, whatever this machine has."""
    from fastmlp import cores

    if hasattr(os, "sched_getaffinity"):
        monkeypatch.setattr(os, "sched_getaffinity", lambda _: set(range(8)))
    monkeypatch.setattr(os, "cpu_count", lambda: 8)
    monkeypatch.setattr(cores, "_quota", lambda _: None)
    monkeypatch.setattr(cores, "limit", [])
    for name in (cores.OUR_LIMIT, *cores.OTHER_LIMITS):
        monkeypatch.delenv(name, raising=False)
