from __future__ import annotations

import sys
import time

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data, run_python, small

import fastmlp as fm

COUNT = small(7, 3)


def made(dtype, count=COUNT):
    models = [
        fm.Sequential(fm.Linear(3, 9), fm.BatchNorm1d(9), fm.ReLU(), fm.Dropout(0.2), fm.Linear(9, 4), dtype=dtype)
        for _ in range(count)
    ]
    for i, model in enumerate(models):
        model.reset_parameters(rng=i)
    return models, [fm.Adam(model.parameters(), lr=0.01 + 0.001 * i) for i, model in enumerate(models)]


def test_each_network_is_trained_as_if_alone(dtype):
    """On any number of threads, with data, seeds, weights and schedules of its own, or the same for all."""
    X, y = make_data(34, 3, 4, dtype=dtype)
    criterion, options = fm.CrossEntropyLoss(), {"epochs": 2, "batch_size": 8, "clip_norm": 1.0}
    seeds = np.random.default_rng(5).integers(2**62, size=COUNT).tolist()
    weights = [np.random.default_rng(i).random(34) for i in range(COUNT)]
    data = [X + np.asarray(i, dtype) for i in range(COUNT)]
    alone = []
    for i, (model, optimizer) in enumerate(zip(*made(dtype))):
        schedule = fm.CosineAnnealingLR(optimizer, T_max=2)
        history = fm.fit(
            model, criterion, optimizer, data[i], y, rng=seeds[i], schedule=schedule, sample_weight=weights[i], **options
        )
        alone.append((flat(model), history))
    for threads in (1, 2, 5):
        models, optimizers = made(dtype)
        schedules = [fm.CosineAnnealingLR(optimizer, T_max=2) for optimizer in optimizers]
        own = {"schedule": schedules, "sample_weight": weights, "threads": threads}
        histories = fm.fit_many(models, criterion, optimizers, data, y, rng=5, **own, **options)
        for model, history, (params, expected) in zip(models, histories, alone):
            assert_same_bits(flat(model), params)
            assert history == expected


def test_one_that_fails_ends_the_others_in_order(dtype):
    X, y = make_data(64, 3, 4, dtype=dtype)
    models, optimizers = made(dtype, 4)
    optimizers[1].lr = 1e30 if dtype == np.float32 else 1e300
    with pytest.raises(fm.NonFiniteLossError) as caught:
        fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, epochs=10**6, rng=0, threads=2)
    assert caught.value.index == 1
    for model in models:
        assert np.isfinite(flat(model)).all()
    steps = [optimizer.steps for optimizer in optimizers]
    time.sleep(0.05)
    assert [optimizer.steps for optimizer in optimizers] == steps  # nobody is at work any more
    fm.fit(models[0], fm.CrossEntropyLoss(), optimizers[0], X, y, epochs=1)  # and may be trained again


INTERRUPTED = """
import os, signal, threading, time
import numpy as np, fastmlp as fm
signal.signal(signal.SIGINT, signal.default_int_handler)  # a background job ignores it
X, y = fm.datasets.make_disc(64, rng=0)
models = [fm.Sequential(fm.Linear(2, 9, rng=i), fm.ReLU(), fm.Linear(9, 2, rng=i)) for i in range(5)]
optimizers = [fm.SGD(model.parameters(), lr=1e-6) for model in models]
fm.fit(models[4], fm.CrossEntropyLoss(), optimizers[4], X, y, epochs=1)  # compiled
timer = threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT))
timer.start()
began = time.perf_counter()
try:
    fm.fit_many(models[:4], fm.CrossEntropyLoss(), optimizers[:4], X, y, epochs=10**9, threads=2)
except KeyboardInterrupt as interrupt:
    timer.join()
    steps = [optimizer.steps for optimizer in optimizers]
    time.sleep(0.1)
    print(steps == [optimizer.steps for optimizer in optimizers], interrupt.history.interrupted)
    print([optimizer.steps > 0 for optimizer in optimizers[:4]], time.perf_counter() - began < 20)
"""


def test_interrupt_ends_all():
    """Those at work after a whole step, those that have not begun never; none goes on in the background."""
    assert run_python(INTERRUPTED).strip() == "True True\n[True, True, False, False] True"


def test_fit_many_rejects_bad_arguments():
    X, y = make_data(8, 3, 4)
    models, optimizers = made(np.float32, 2)
    for arguments, options, error, message in (
        (([], []), {}, ValueError, "models is empty"),
        ((models, optimizers[:1]), {}, ValueError, "got 2 networks and 1 optimizers"),
        (([models[0]] * 2, optimizers), {}, ValueError, "a network comes twice"),
        ((models, [optimizers[0]] * 2), {}, ValueError, "an optimizer comes twice"),
        ((models, optimizers), {"rng": [1]}, ValueError, "rng is a list of 1, one for each network; there are 2 networks"),
        ((models, optimizers), {"threads": 0}, ValueError, "threads must be at least 1"),
        ((models, optimizers), {"progress": "bar"}, TypeError, "progress must be True or False"),
        ((models, optimizers[::-1]), {}, ValueError, "the optimizer must hold parameters of the model"),
        ((models, [1, 2]), {}, TypeError, "optimizer must be an Optimizer"),
        ((models, optimizers), {"callbacks": [[]]}, ValueError, "callbacks are 1 lists, one for each network; there are 2"),
        (
            (models, optimizers),
            {"callbacks": fm.CSVLogger("x")},
            ValueError,
            "the place of one CSVLogger: give each its own",
        ),
        ((models, optimizers), {"backend": "loky"}, ValueError, 'backend must be "threads" or "joblib"; got \'loky\': which'),
    ):
        with pytest.raises(error, match=message):
            fm.fit_many(arguments[0], fm.CrossEntropyLoss(), arguments[1], X, y, epochs=1, **options)
    with pytest.raises(TypeError, match="y must hold"):
        fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, ["a", None] * 4, epochs=1)


def test_each_network_has_callbacks_of_its_own():
    """Copies of what is given once, or those of its own list; a function is that of all."""
    X, y = make_data(34, 3, 4)
    told = []
    callbacks = [fm.EarlyStopping(patience=1), lambda epoch, history: told.append(epoch)]
    models, optimizers = made(np.float32)
    common = {"epochs": 3, "validation": (X, y), "rng": 0}
    histories = fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, callbacks=callbacks, threads=2, **common)
    assert callbacks[0].best is None
    assert len(told) == sum(history.epochs for history in histories)
    again, optimizers = made(np.float32)
    own = [[fm.EarlyStopping(patience=1)] for _ in again]
    fm.fit_many(again, fm.CrossEntropyLoss(), optimizers, X, y, callbacks=own, threads=2, **common)
    for model, other, history, (stop,) in zip(models, again, histories, own):
        assert_same_bits(flat(model), flat(other))
        assert stop.best == min(history.validation_loss)


def test_data_of_all_is_converted_once():
    class Table:
        """What NumPy converts, and counts how often."""

        def __init__(self, values):
            self.values, self.times = values, 0

        def __array__(self, dtype=None, copy=None):
            self.times += 1
            return np.array(self.values, dtype)

    X, y = make_data(34, 3, 4)
    table = Table(X)
    models, optimizers = made(np.float32)
    fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, table, y, epochs=1, rng=0)
    assert table.times == 1
    chunked, optimizers = made(np.float32)
    fm.fit_many(chunked, fm.CrossEntropyLoss(), optimizers, fm.Chunks(X, y), epochs=1, rng=0)
    for model, other in zip(models, chunked):
        assert_same_bits(flat(model), flat(other))


def test_progress_counts_networks(capsys, monkeypatch):
    X, y = make_data(34, 3, 4)
    common = {"epochs": 2, "validation": (X, y), "rng": 0, "threads": 2}
    for progress, lines in (("log", COUNT), (("log", 1000), 1)):
        models, optimizers = made(np.float32)
        capsys.readouterr()
        histories = fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, progress=progress, **common)
        said = [line for line in capsys.readouterr().err.splitlines() if not line.startswith("fastmlp: ")]
        assert len(said) == lines
        losses = {f"loss {h.loss[-1]:.4g}, validation loss {h.validation_loss[-1]:.4g}" for h in histories}
        assert {line.partition(", ")[2] for line in said} <= losses
        assert [line.partition(", ")[0] for line in said] == [f"network {i + 1}/{COUNT}" for i in range(COUNT)][-lines:]
    pytest.importorskip("tqdm", reason="the bar is tqdm's")
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True, raising=False)
    models, optimizers = made(np.float32)
    fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, **common)
    assert f"network {COUNT}/{COUNT} |" in capsys.readouterr().err


def test_calls_without_rng_go_on():
    X, y = make_data(34, 3, 4)
    seeds = list(range(COUNT))
    models, optimizers = made(np.float32)
    fm.fit_many(models, fm.CrossEntropyLoss(), optimizers, X, y, epochs=3, rng=seeds)
    others, theirs = made(np.float32)
    fm.fit_many(others, fm.CrossEntropyLoss(), theirs, X, y, epochs=1, rng=seeds)
    fm.fit_many(others, fm.CrossEntropyLoss(), theirs, X, y, epochs=2)
    for model, other in zip(models, others):
        assert_same_bits(flat(model), flat(other))
