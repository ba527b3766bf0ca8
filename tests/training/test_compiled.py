from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, jit_only, make_data, make_net, run_python, small

import fastmlp as fm
from fastmlp.training import compiled
from fastmlp.training.data import Data
from fastmlp.training.fit import _make_run
from fastmlp.training.inputs import check_data
from fastmlp.training.run import Rates


def test_slices_of_a_run_do_not_matter(dtype, monkeypatch):
    """One step a call, with the shuffled order kept across calls, or everything in one call."""
    X, y = make_data(small(50, 11), 2, 3, dtype=dtype)
    results = []
    for steps in (1, 3, 10**6):
        model = make_net([2, 5, 3], dtype=dtype)
        always = property(lambda _, steps=steps: steps, lambda *_: None)
        monkeypatch.setattr(compiled.CompiledRun, "_steps", always, raising=False)
        optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9, dampening=0.1)
        history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=4, batch_size=4, rng=3)
        results.append((model.storage.data.copy(), history.loss, optimizer.steps))
    for params, losses, steps in results[1:]:
        assert_same_bits(params, results[0][0])
        assert_within(losses, results[0][1], len(X) * eps(np.float64) * np.array(losses))
        assert steps == results[0][2] == 4 * -(-len(X) // 4)


def busy_net(dtype):
    layers = fm.Linear(3, 9, dtype=dtype, rng=1), fm.BatchNorm1d(9, dtype=dtype), fm.Tanh(), fm.Dropout(0.3, rng=2)
    return fm.Sequential(*layers, fm.Linear(9, 3, dtype=dtype, rng=3))


def left_by(model):
    return [compiled.SPARE[program] for program in model._route_now()._training.values() if program in compiled.SPARE]


@pytest.mark.parametrize("more", [{}, {"accumulate": 2, "clip_norm": 0.5}], ids=["plain", "accumulating"])
def test_a_run_in_the_memory_of_the_one_before(more, dtype, monkeypatch):
    X, y = make_data(small(50, 12), 3, 3, dtype=dtype)
    results = []
    for room in (compiled.SPARE_BYTES, 0):
        monkeypatch.setattr(compiled, "SPARE_BYTES", room)
        model = busy_net(dtype)
        optimizer = fm.Adam(model.parameters())
        losses = []
        for epochs in (2, 1, 1):
            losses += fm.fit(
                model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=epochs, batch_size=5, rng=epochs, threads=2, **more
            ).loss
            assert len(left_by(model)) == (room > 0)
        results.append((model.storage.data.copy(), losses))
    assert_same_bits(results[0][0], results[1][0])
    assert results[0][1] == results[1][1]


def test_a_run_leaves_no_memory_that_is_the_users_or_has_held_infinities():
    X, y = make_data(20, 3, 3)
    model, labels, weights = make_net([3, 4, 3]), y.copy(), np.ones(20, np.float32)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, labels, epochs=1, batch_size=20, sample_weight=weights)
    ((job, _),) = left_by(model)
    kept = [array for array in vars(job).values() if isinstance(array, np.ndarray)]
    assert not any(np.shares_memory(array, theirs) for array in kept for theirs in (X, labels, weights))
    optimizer.param_groups[0]["lr"] = 1e38
    with pytest.raises(fm.NonFiniteLossError):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, labels, epochs=9, batch_size=20, sample_weight=weights)
    assert not left_by(model)


def test_only_the_last_run_leaves_memory():
    X, y = make_data(20, 3, 3)
    models = [make_net([3, 4, 3]), make_net([3, 5, 3])]
    for model in models:
        fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=1)
    assert [len(left_by(model)) for model in models] == [0, 1]


PROGRAM = """
import fastmlp as fm
from fastmlp.kernels.compiler import jit
X, y = fm.datasets.make_disc(20, rng=0)
model = fm.Sequential(fm.Linear(2, 5), fm.ReLU(), fm.Linear(5, 2))
fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.1), X, y, epochs=1)
print(*[entry.name for entry in jit.history])
"""


@jit_only
def test_a_first_fit_waits_for_the_blocks_it_uses_and_no_others():
    """Whatever else the catalogue has; from a cache or compiled."""
    names = run_python(PROGRAM).split()
    scans = {"scan.all_finite", "scan.first_outside"}
    assert set(names) == {"engine.run", "input", "linear", "cross_entropy", "update-sgd-0"} | scans
    assert len(names) == 7


AT_ONCE = """
import threading
import numpy as np, fastmlp as fm
X, y = fm.datasets.make_disc(64, rng=0)
def train(seed):
    model = fm.Sequential(fm.Linear(2, 9, rng=seed), fm.ReLU(), fm.Linear(9, 2, rng=seed))
    fm.fit(model, fm.CrossEntropyLoss(), fm.SGD(model.parameters(), lr=0.01), X, y, epochs=5000, rng=seed, threads=1)
    results[seed] = model.storage.data
results = {}
threads = [threading.Thread(target=train, args=(seed,)) for seed in range(4)]
for thread in threads: thread.start()
for thread in threads: thread.join()
together = dict(results)
for seed in range(4):
    train(seed)
    assert np.array_equal(together[seed], results[seed])
print("done")
"""


@jit_only
def test_threads_that_train_their_first_networks_at_the_same_time():
    """Each asks for the blocks first; none may free the machine code that another one runs."""
    assert run_python(AT_ONCE).strip() == "done"


@pytest.mark.once
def test_threads_go_by_the_work_of_a_step_and_of_the_run(monkeypatch):
    monkeypatch.setattr("fastmlp.team.cores", lambda: 4)

    def threads(dtype, steps, wanted=None):
        model = fm.Sequential(
            fm.Linear(64, 50, dtype=dtype, rng=0), fm.ReLU(), fm.Linear(50, 50, dtype=dtype, rng=0), dtype=dtype
        )
        criterion, optimizer = fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1)
        rows = check_data(model, criterion, np.zeros((200, 64)), np.zeros((200, 50)), None, "", finite=True)
        data = Data(rows, 200, 200, 1, 200, shuffle=False, seed=0, last_epoch=steps)
        return _make_run(model, criterion, optimizer, data, 0, Rates(optimizer, None, 0, 1), wanted).threads

    # Narrow layers, 2.2 million flops a step of 200 rows: a thread for each 24 rows where the run is long.
    model = fm.Sequential(fm.Linear(20, 40), fm.ReLU(), fm.Linear(40, 25), fm.Tanh(), fm.Linear(25, 3))
    for weights, rows, steps, wanted, expected in (
        (None, 200, 2000, None, 4),
        (None, 60, 2000, None, 2),
        (None, 47, 2000, None, 1),
        (None, 200, 100, None, 1),
        (None, 60, 1, 8, 2),
        (np.ones(200), 200, 2000, None, 1),
    ):
        criterion, optimizer = fm.MSELoss(), fm.SGD(model.parameters(), lr=0.1)
        given = check_data(model, criterion, np.zeros((200, 20)), np.zeros((200, 3)), weights, "", finite=True)
        data = Data(given, rows, rows, 1, 200, shuffle=False, seed=0, last_epoch=steps)
        assert _make_run(model, criterion, optimizer, data, 0, Rates(optimizer, None, 0, 1), wanted).threads == expected

    # 6.8 million flops, which in float64 count twice
    assert [threads(dtype, 50) for dtype in (np.float32, np.float64)] == [1, 3]
    assert [threads(np.float32, steps) for steps in (146, 147)] == [1, 3]  # a thousand million in all
    assert [threads(np.float64, steps) for steps in (1, 2, 3)] == [1, 1, 3]  # 40 million in all
    assert threads(np.float32, 1, wanted=2) == 2
