"""Stretches of a network: their memory, and several threads at one of them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from helpers import assert_same_bits, jit_only, make_net, normal, small

import fastmlp as fm
from fastmlp import program, team
from fastmlp.modules import stretch
from fastmlp.program import Program


def test_batches_of_all_sizes_take_turns(dtype, rng, monkeypatch):
    """Memory for more rows is used for fewer, unless it is far too much."""
    made = []

    def both_ways(layers, dtype, *, batch, real=Program.both_ways):
        made.append(batch)
        return real(layers, dtype, batch=batch)

    monkeypatch.setattr(Program, "both_ways", both_ways)
    model = make_net([3, 17, 2], dtype=dtype)
    sizes = (9, 4, 9, 70, 69, 70, 9, 5, 1, 2)
    for rows in sizes:
        x, dy = normal(rng, (rows, 3), dtype), normal(rng, (rows, 2), dtype)
        model.zero_grad()
        fresh = make_net([3, 17, 2], dtype=dtype)
        out, dx = model(x), model.backward(dy)
        count = len(made)
        assert_same_bits(out, fresh(x))
        assert_same_bits(dx, fresh.backward(dy))
        assert_same_bits(model.storage.grad, fresh.storage.grad)
        del made[count:]
    assert made == [9, 70, 5]  # one at a time: that of the last pass serves the next


def test_passes_of_two_widths_have_memory_of_their_own(dtype, rng):
    module = fm.Sequential(fm.Tanh(), fm.Sigmoid(), dtype=dtype)
    for width in (3, 40, 3, 40, 1):
        x, dy = normal(rng, (5, width), dtype), normal(rng, (5, width), dtype)
        twin = fm.Sequential(fm.Tanh(), fm.Sigmoid(), dtype=dtype)
        assert_same_bits(module(x), twin(x))
        assert_same_bits(module.backward(dy), twin.backward(dy))
        assert_same_bits(module.predict(x), twin(x))


def test_passes_of_two_dtypes_have_memory_of_their_own(rng):
    module = fm.Tanh()
    for dtype in (np.float32, np.float64, np.float32):
        x, dy = normal(rng, (5, 3), dtype), normal(rng, (5, 3), dtype)
        twin = fm.Tanh()
        assert_same_bits(module(x), twin(x))
        assert_same_bits(module.backward(dy), twin.backward(dy))


def test_predict_starts_no_more_threads_than_there_are_tiles(monkeypatch):
    teams = []

    def run_together(take_part, threads, **_):
        teams.append(threads)
        for thread in range(threads):
            take_part(thread, threads)

    monkeypatch.setattr(stretch, "run_together", run_together)
    monkeypatch.setattr(stretch, "team_size", lambda wanted, *_: min(wanted or 1, _[-1]))
    model = fm.Sequential(fm.Linear(2, 3, rng=0))
    for rows in (1, stretch.TILE_ROWS, stretch.TILE_ROWS + 1, 3 * stretch.TILE_ROWS + 1, 1000):
        X = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
        np.testing.assert_array_equal(model.predict(X, threads=1000), model.predict(X))
    assert teams == [2, 4, -(-1000 // stretch.TILE_ROWS)]


def test_one_row_is_taken_at_once_but_for_what_is_looked_at_before(dtype, rng, monkeypatch):
    """The second time; never where its numbers are indices, or where threads are to share its columns."""
    calls = []

    def predict(self, x, out, threads, real=stretch.Stretch.predict):
        calls.append(len(x))
        real(self, x, out, threads)

    monkeypatch.setattr(stretch.Stretch, "predict", predict)
    model, x = make_net([3, 5, 2], dtype=dtype), normal(rng, (2, 3), dtype)
    for given in (x[:1], x[1:], x, x[:1]):
        assert_same_bits(model.predict(given), model(given))
    model.predict(x[:1], threads=2)
    with pytest.raises(ValueError, match="threads"):
        model.predict(x[:1], threads=0)
    assert calls == [1, 2, 1]
    embedded = fm.Sequential(fm.Embedding(4, 3, rng=0), fm.Linear(3, 2, rng=0), dtype=dtype)
    for _ in range(2):
        embedded.predict(np.ones((1, 1), dtype))
    with pytest.raises(ValueError, match="4"):
        embedded.predict(np.full((1, 1), 4, dtype))
    monkeypatch.setattr(stretch, "FLOPS_PER_THREAD_AWAKE", 1)
    wide = make_net([3, 5, 2], dtype=dtype)
    calls.clear()
    for _ in range(3):
        assert_same_bits(wide.predict(x[:1]), wide(x[:1]))
    assert calls == [1, 1, 1]


def test_what_takes_one_row_stays_when_another_thread_makes_its_own(dtype, rng):
    model, x = make_net([3, 5, 2], dtype=dtype), normal(rng, (1, 3), dtype)
    out = np.empty_like(model.predict(x))
    found = model._route_now().last
    (take, handle, header), other = found._prepare_row(x, out), found._prepare_row(x, out)
    assert found.row is other
    assert header is not other[2]
    take(handle, x, out, 1)
    assert_same_bits(out, model(x))


def test_columns_are_shared_for_a_number_of_rows_of_a_wide_network(dtype, rng, monkeypatch):
    monkeypatch.setattr(program, "level_2_bytes", lambda: 2**10)
    monkeypatch.setattr(program, "COLUMNS_FROM", 25)
    monkeypatch.setattr(program, "PREDICTED_FROM", 2)
    monkeypatch.setattr(stretch, "PANELS_TO", 70)
    made = []

    def by_panels(layers, dtype, *, threads, batch, real=Program.by_panels):
        made.append((threads, batch))
        return real(layers, dtype, threads=threads, batch=batch)

    monkeypatch.setattr(Program, "by_panels", by_panels)
    inputs = [normal(rng, (rows, 30), dtype) for rows in (1, 63, 64, 66, 70, 71)]
    narrow = make_net([30, 24, 24, 3], dtype=dtype)
    for x in inputs:
        narrow.predict(x)
    assert not made
    model = make_net([30, 40, 33, 3], dtype=dtype)
    for x in inputs:
        assert_same_bits(model.predict(x, threads=1), model(x))
    assert made == [(1, 70)]


class Copies(fm.Module):
    """Keeps what it gave, as a module in Python does."""

    def forward(self, x):
        self.y = 2 * x
        return self.y

    def backward(self, dy):
        return 2 * dy


def together(calls, workers=4):
    """The results of calls that several threads make at the same time."""
    ready = threading.Barrier(workers)

    def work(some):
        ready.wait(60)
        return [call() for call in some]

    with ThreadPoolExecutor(workers) as pool:
        parts = list(pool.map(work, [calls[i::workers] for i in range(workers)]))
    return [parts[i % workers][i // workers] for i in range(len(calls))]


def test_threads_may_call_one_network_at_the_same_time(dtype, rng):
    """`predict` and the call, in training mode and in evaluation mode, with and without a module in Python."""
    plain = make_net([5, 33, 3], dtype=dtype)
    mixed = fm.Sequential(fm.Linear(5, 33, rng=0), Copies(), fm.Tanh(), fm.Linear(33, 3, rng=1), dtype=dtype)
    inputs = [normal(rng, (small(200, 3) + i, 5), dtype) for i in range(4)]
    for model in (plain, mixed, fm.Linear(5, 3, dtype=dtype, rng=0), fm.Tanh()):
        for mode in (True, False):
            model.train(mode)
            right = [model(x) for x in inputs]
            functions = [model, model.predict] if isinstance(model, fm.Sequential) else [model]
            calls = [lambda f=f, x=x: f(x) for f in functions for x in inputs] * small(30, 2)
            for call, result in zip(calls, together(calls)):
                x = call.__defaults__[1]
                assert_same_bits(result, right[next(i for i, given in enumerate(inputs) if given is x)])


def test_predict_leaves_alone_what_a_module_in_python_keeps(dtype, rng):
    model = fm.Sequential(fm.Linear(5, 7, rng=0), Copies(), fm.Linear(7, 2, rng=1), dtype=dtype)
    model(normal(rng, (3, 5), dtype))
    kept = model[1].y
    model.predict(normal(rng, (9, 5), dtype))
    assert model[1].y is kept
    assert model.training
    assert model[1].training


def test_threads_may_call_one_loss_at_the_same_time(dtype, rng):
    out = [normal(rng, (small(100, 3) + i, 3), dtype) for i in range(4)]
    for criterion in (fm.CrossEntropyLoss(), fm.MSELoss()):
        labels = [rng.integers(3, size=len(x)) if "labels" in criterion.targets else np.zeros_like(x) for x in out]
        right = [criterion(*pair) for pair in zip(out, labels)]
        calls = [lambda c=criterion, x=x, y=y: c(x, y) for x, y in zip(out, labels)] * small(50, 2)
        assert together(calls) == right * small(50, 2)


def test_networks_are_built_while_others_predict(dtype, rng):
    """Every network that is built lets the others look again at what they are."""
    model, x = make_net([5, 33, 3], dtype=dtype), normal(rng, (20, 5), dtype)
    right = model.predict(x)
    calls = [lambda: model.predict(x), lambda: make_net([5, 33, 3], dtype=dtype).predict(x)] * small(50, 4)
    for result in together(calls, 2):
        assert_same_bits(result, right)


def nets(dtype):
    """Networks whose products alone can be shared by columns."""
    rest = (fm.LayerNorm(33), fm.Residual(fm.Linear(33, 33, rng=1), fm.GELU()), fm.Linear(33, 70, rng=2), fm.Softmax())
    return [
        make_net([5, 70, 70, 3], "relu", dtype=dtype),
        make_net([5, 33, 3], bias=False, dtype=dtype),
        fm.Sequential(fm.Linear(5, 33, rng=0), *rest, dtype=dtype),
        fm.Sequential(fm.Embedding({1: 3}, {1: 2}, in_features=5), fm.Linear(6, 50, rng=0), fm.SELU(), dtype=dtype),
    ]


@jit_only
def test_predictions_in_a_row_have_the_help_of_threads_that_spin(dtype, rng, monkeypatch):
    """However few rows, by columns or by rows; the bits are those of one thread."""
    helped = []

    def run_beside(call, most):
        helped.append(team.run_beside(call, most))
        return helped[-1]

    monkeypatch.setattr(stretch, "run_beside", run_beside)
    monkeypatch.setattr(stretch, "FLOPS_PER_THREAD_AWAKE", 1)
    monkeypatch.setattr(stretch, "SOON", 60.0)
    monkeypatch.setattr(stretch, "SECONDS_LATE", 60.0)
    monkeypatch.setattr(stretch, "cores_lately", lambda now: 2)
    for model in nets(dtype):
        x = abs(normal(rng, (40, 5), dtype)) // 1 % 3
        for rows in (1, 9, 40):
            right = model.predict(x[:rows], threads=1)
            helped.clear()
            deadline = time.perf_counter() + 20
            while not any(helped):
                assert_same_bits(model.predict(x[:rows]), right)
                assert time.perf_counter() < deadline, f"{rows} rows: nobody helps"


@jit_only
def test_a_prediction_that_had_to_wait_goes_without_help_for_a_while(monkeypatch):
    asked = []
    monkeypatch.setattr(stretch, "run_beside", lambda call, most: bool(asked.append(most)))
    monkeypatch.setattr(stretch, "FLOPS_PER_THREAD_AWAKE", 1)
    monkeypatch.setattr(stretch, "cores_lately", lambda now: 2)
    monkeypatch.setattr(stretch, "wake", lambda threads: None)
    model = make_net([5, 70, 3])
    x = np.ones((9, 5), np.float32)
    right = model.predict(x)
    assert asked == []  # the first one learns how long it takes alone
    assert_same_bits(model.predict(x), right)
    assert asked == [1]
    found = model._route_now().last
    found._without = time.perf_counter() + 60
    assert_same_bits(model.predict(x), right)
    assert asked == [1]
    box = np.zeros(24, np.int64)  # of nobody
    found._without = 0.0
    for alone, late in ((60.0, False), (1e-9, True)):
        monkeypatch.setattr(stretch, "SECONDS_LATE", 0.0)
        found._alone_takes = {4: alone}  # for each of 8 to 15 rows
        assert found._predict_beside(x, np.empty_like(right), np.array([box.ctypes.data], np.int64)) == 0
        assert (found._without > 0) == late


def test_predictions_of_a_row_need_neither_engine_nor_a_job(dtype, rng, monkeypatch):
    monkeypatch.setattr(stretch, "run", None)
    monkeypatch.setattr(stretch, "runner", None)
    for model in (make_net([5, 33, 3], dtype=dtype), make_net([5, 3], bias=False, dtype=dtype)):
        x = normal(rng, (1, 5), dtype)
        out, y = np.empty((1, 3), dtype), model.predict(x)
        assert model.predict(x, out=out) is out
        assert_same_bits(out, y)
        assert_same_bits(model.eval()(x), y)
        model[0].weight.data *= 2
        assert not np.array_equal(model.predict(x), y), "it follows the parameters"
