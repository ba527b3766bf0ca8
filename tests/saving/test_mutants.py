"""Files that are broken, or meant to break: each is loaded right or refused with one clear error, within bounds."""

from __future__ import annotations

import os
import time
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from helpers import assert_same_bits, run_python, small
from saving.mutants import ACCIDENTS, ATTACKS, one_of

import fastmlp as fm

#: A second is a thousand times what a load takes.
SECONDS = 3.0

#: Bytes for each byte of the file, and besides.
FACTOR, BESIDES = 200, 2_000_000


def originals(folder):
    """Small files with a bit of everything."""
    contents = []
    for dtype in (np.float32, np.float64):
        inner = fm.Residual(fm.Linear(3, 3), fm.LayerNorm(3, bias=False), fm.LeakyReLU(0.2), fm.Dropout(0.25, rng=1))
        layers = fm.Linear(2, 3), fm.BatchNorm1d(3), inner, fm.PReLU(), fm.Softplus(2.0), fm.GELU("tanh")
        model = fm.Sequential(*layers, fm.Linear(3, 2, bias=False), dtype=dtype)
        model.reset_parameters(0)
        parameters = list(model.parameters())
        groups = [{"params": parameters[:2], "lr": 0.1}, {"params": parameters[3:]}]
        optimizer = fm.Adam(groups, amsgrad=True) if dtype is np.float32 else fm.SGD(groups, momentum=0.9)
        optimizer.average(0.9)
        if dtype is np.float32:
            parts = [fm.LinearLR(optimizer, total_iters=3), fm.OneCycleLR(optimizer, 0.1, total_steps=20)]
            schedule = fm.SequentialLR(optimizer, parts, milestones=[3])
        else:
            schedule = fm.ReduceLROnPlateau(optimizer, patience=1)
        for parameter in parameters:
            parameter.grad = np.ones(parameter.shape)
        optimizer.step()
        parameters[0].requires_grad = False
        model[1].eval()
        fm.save(folder / "original", model, optimizer, schedule, fm.History([0.5, float("nan")]))
        contents.append((folder / "original").read_bytes())
    return contents


def state_of(checkpoint):
    """The arrays of a file, and all else as text."""
    described = repr((checkpoint.model, checkpoint.optimizer, type(checkpoint.schedule), checkpoint.history))
    return checkpoint.model.state_dict(), described


def go_through(folder, count, seed, measure=False):
    """Load so many mutants; how many were refused, and the worst time and memory."""
    contents, path = originals(folder), folder / "mutant"
    expected = []
    for content in contents:
        path.write_bytes(content)
        expected.append(state_of(fm.load_checkpoint(path)))
    refused, slowest, largest = {}, (0.0, ""), (0.0, "")
    for number in range(count):
        rng = np.random.default_rng([seed, number])
        which = int(rng.integers(len(contents)))
        kinds = one_of(rng, [ACCIDENTS, ATTACKS, ATTACKS])
        how = one_of(rng, kinds)
        mutant = how(rng, contents[which])
        path.write_bytes(mutant)
        begin = time.perf_counter()
        if measure:
            tracemalloc.start()
        try:
            loaded = fm.load_checkpoint(path)
        except fm.LoadError as error:
            refused[how.__name__] = refused.get(how.__name__, 0) + 1
            message = str(error)
            assert message.startswith(str(path)), (number, how, message)
            assert len(message) < 1000, (number, how, message)
            message.encode("ascii", "backslashreplace").decode()
        else:
            assert isinstance(loaded.model, fm.Module)
            state, described = state_of(loaded)
            if kinds is ACCIDENTS:  # it has hit what nobody reads
                assert described == expected[which][1], (number, how)
                assert state.keys() == expected[which][0].keys()
                for name, array in state.items():
                    assert_same_bits(array, expected[which][0][name])
        seconds = time.perf_counter() - begin
        slowest = max(slowest, (seconds, f"{number} {how.__name__}"))
        if measure:
            peak = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
            largest = max(largest, ((peak - BESIDES) / max(1, len(mutant)), f"{number} {how.__name__}"))
    assert slowest[0] < SECONDS, slowest
    assert largest[0] < FACTOR, largest
    assert {how.__name__ for how in ACCIDENTS + ATTACKS} <= refused.keys() or count < 1000
    assert sum(refused.values()) > 0.7 * count
    return refused


def test_mutants_are_loaded_right_or_refused(tmp_path):
    go_through(tmp_path, small(400, 100), seed=1)
    assert sorted(entry.name for entry in tmp_path.iterdir()) == ["mutant", "original"]


@pytest.mark.slow
def test_ten_thousand_mutants_are_loaded_right_or_refused(tmp_path):
    """In processes of their own, with no more memory than 400 MB above what an import takes."""
    code = """
import resource, sys
sys.path[:0] = [sys.argv[1]]
from pathlib import Path
from saving.test_mutants import go_through
used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (used + 400_000_000, -1))
print(go_through(Path(sys.argv[2]), 5000, seed=int(sys.argv[3]), measure=sys.argv[3] == "3"))
"""
    for seed in (2, 3):
        folder = tmp_path / str(seed)
        folder.mkdir()
        run_python(code, Path(__file__).parents[1], folder, seed)
        assert sorted(os.listdir(folder)) == ["mutant", "original"]
