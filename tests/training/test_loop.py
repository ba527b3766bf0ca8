"""Going on, ending by the clock, columns of the history, and two calls for one model."""

from __future__ import annotations

import copy
import pickle
import threading
import time
import warnings

import numpy as np
import pytest
from helpers import assert_same_bits, eager_train, flat, make_data, make_net, small

import fastmlp as fm


class Same(fm.Module):
    def forward(self, x):
        return x

    def backward(self, dy):
        return dy


def built(python=False, dtype=np.float32):
    layers = [fm.Linear(3, 9, rng=0), fm.BatchNorm1d(9), fm.Tanh(), fm.Dropout(0.2, rng=1), fm.Linear(9, 4, rng=2)]
    model = fm.Sequential(*layers, *([Same()] if python else []), dtype=dtype)
    return model, fm.Adam(model.parameters(), lr=0.01)


def fit(model, optimizer, epochs, **keywords):
    X, y = make_data(22, 3, 4, dtype=model.dtype)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=epochs, batch_size=4, **keywords)


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize("threads", [1, 2])
def test_two_calls_of_two_epochs_are_one_of_four(threads, interval, dtype):
    """With an int, or without one; with a schedule; after pickle; after loading; on the engine and in Python."""
    for python in (False, True):
        whole, optimizer = built(python, dtype)
        schedule = fm.CosineAnnealingLR(optimizer, 24)
        schedule.interval = interval
        history = fit(whole, optimizer, 4, rng=7, schedule=schedule, threads=threads, validation=0.2)
        for way in ("again", "none", "pickle", "state"):
            model, optimizer = built(python, dtype)
            schedule = fm.CosineAnnealingLR(optimizer, 24)
            schedule.interval = interval
            keywords = {"threads": threads, "validation": 0.2}
            first = fit(model, optimizer, 2, rng=7, schedule=schedule, **keywords)
            assert optimizer.epochs == 2
            if way == "pickle":
                model, optimizer, schedule = pickle.loads(pickle.dumps((model, optimizer, schedule)))
            if way == "state":
                states = [part.state_dict() for part in (model, optimizer, schedule)]
                model, optimizer = built(python, dtype)
                schedule = fm.CosineAnnealingLR(optimizer, 24)
                schedule.interval = interval
                for part, state in zip((model, optimizer, schedule), states):
                    part.load_state_dict(state)
            second = fit(model, optimizer, 2, rng=7 if way == "again" else None, schedule=schedule, **keywords)
            assert (optimizer.epochs, second.first_epoch) == (4, 2)
            for name in ("loss", "validation_loss", "rate"):
                assert getattr(first, name) + getattr(second, name) == getattr(history, name), (way, name)
            assert_same_bits(flat(model), flat(whole))


def at_step(step):
    """A callback that ends training after so many steps."""
    callback = fm.Callback()
    callback.every, callback.on_steps = step, lambda *_: True
    return callback


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_an_epoch_that_was_broken_off_goes_on_with_its_next_batch(interval, dtype):
    """To the same bits and losses, whichever step it was; after pickle and loading; on the engine and in Python."""
    weights = np.arange(22) % 3 + 0.5
    for python, way, step in (
        (False, "again", 1),
        (False, "pickle", 8),
        (False, "state", 17),
        (True, "again", 8),
        (True, "state", 9),
    ):
        results = []
        for broken in (False, True):
            model, optimizer = built(python, dtype)
            schedule = fm.CosineAnnealingLR(optimizer, 24)
            schedule.interval = interval
            keywords = {"schedule": schedule, "sample_weight": weights}
            if broken:
                first = fit(model, optimizer, 3, rng=7, callbacks=at_step(step), **keywords)
                assert optimizer.steps == step
                if way == "pickle":
                    model, optimizer, schedule = pickle.loads(pickle.dumps((model, optimizer, schedule)))
                if way == "state":
                    states = [part.state_dict() for part in (model, optimizer, schedule)]
                    model, optimizer = built(python, dtype)
                    schedule = fm.CosineAnnealingLR(optimizer, 24)
                    schedule.interval = interval
                    for part, state in zip((model, optimizer, schedule), states):
                        part.load_state_dict(state)
                second = fit(model, optimizer, 3 - optimizer.epochs, **keywords | {"schedule": schedule})
                results.append((first.loss + second.loss, first.rate + second.rate, flat(model)))
            else:
                history = fit(model, optimizer, 3, rng=7, **keywords)
                results.append((history.loss, history.rate, flat(model)))
        assert results[0][:2] == results[1][:2], (python, way)
        assert_same_bits(results[0][2], results[1][2])


def test_an_epoch_of_something_else_begins_anew():
    model, optimizer = built()
    for keywords, steps in (
        ({"rng": 8}, 6),
        ({"drop_last": True}, 5),
        ({"shuffle": False}, 6),
        ({"initial_epoch": 0}, 6),
        ({}, 5),
    ):
        model, optimizer = built()
        fit(model, optimizer, 3, rng=7, callbacks=at_step(1))
        fit(model, optimizer, 1, **{"rng": 7} | keywords)
        assert optimizer.steps == 1 + steps, keywords
    with pytest.raises(ValueError, match="place must have 9 numbers; got 4"):
        optimizer.load_state_dict(optimizer.state_dict() | {"place": [1, 2, 3, 4]})


def test_without_a_seed_the_first_call_draws_one():
    model, optimizer = built()
    fit(model, optimizer, 2)
    twin, other = copy.deepcopy((model, optimizer))
    fit(model, optimizer, 2)
    fit(twin, other, 1)
    fit(twin, other, 1)
    assert_same_bits(flat(model), flat(twin))


def test_the_order_of_an_epoch_goes_by_its_number(dtype):
    """As in a loop by hand whose epochs are counted on; `initial_epoch` says another number."""
    X, y = make_data(22, 3, 4, dtype=dtype)
    by_hand, optimizer = make_net([3, 9, 4], dtype=dtype), None
    optimizer = fm.SGD(by_hand.parameters(), lr=0.1)
    eager_train(by_hand, fm.CrossEntropyLoss(), optimizer, X, y, epochs=5, first_epoch=2, batch_size=4, rng=0)
    keywords = {"batch_size": 4, "rng": 0}
    for way in ("initial_epoch", "epochs"):
        model = make_net([3, 9, 4], dtype=dtype)
        optimizer = fm.SGD(model.parameters(), lr=0.1)
        if way == "epochs":
            optimizer.epochs = 2
        given = {"epochs": 5, "initial_epoch": 2} if way == "initial_epoch" else {"epochs": 3}
        history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **keywords, **given)
        assert (history.first_epoch, history.epochs, optimizer.epochs) == (2, 3, 5)
        assert_same_bits(flat(model), flat(by_hand))


def test_a_fresh_schedule_begins_where_an_old_one_would_go_on():
    model, optimizer = built()
    fit(model, optimizer, 2, rng=0)
    history = fit(model, optimizer, 3, rng=0, schedule=fm.StepLR(optimizer, 1, gamma=0.5))
    assert history.rate == [0.01, 0.005, 0.0025]


def test_old_state_dicts_have_no_epochs():
    _, optimizer = built()
    state = optimizer.state_dict()
    assert not {"epochs", "seed"} & state.keys()
    model, optimizer = built()
    fit(model, optimizer, 2)
    assert optimizer.state_dict()["epochs"] == 2
    optimizer.load_state_dict(state)
    assert (optimizer.epochs, optimizer._seed) == (0, None)
    for name, wrong, error in (("epochs", -1, ValueError), ("seed", "a", TypeError)):
        with pytest.raises(error, match=f"{name} must be"):
            optimizer.load_state_dict(state | {name: wrong})


def test_rates_and_seconds_are_those_of_the_epochs(dtype, monkeypatch):
    """The rate of the last step; times without what is not training, however the calls are cut."""
    for python in (False, True):
        for slices in (1e-9, 60):
            monkeypatch.setattr("fastmlp.training.compiled.SLICE_SECONDS", slices)
            model, optimizer = built(python, dtype)
            schedule = fm.LambdaLR(optimizer, lambda step: 1 / (1 + step))
            schedule.interval = "step"
            began = time.perf_counter()
            history = fit(model, optimizer, 4, schedule=schedule, metrics=[("slow", lambda y, out: time.sleep(0.02) or 0.0)])
            passed = time.perf_counter() - began
            assert history.rate == pytest.approx([0.01 / (6 * (epoch + 1)) for epoch in range(4)], rel=1e-12)
            assert len(history.seconds) == 4
            assert min(history.seconds) > 0
            assert sum(history.seconds) < passed - 0.08


def test_training_ends_after_so_many_seconds():
    model, optimizer = built()
    began = time.perf_counter()
    history = fit(model, optimizer, 2**40, max_seconds=0.2, progress=False)
    assert 0.2 < time.perf_counter() - began < 60
    assert history.stopped == "max_seconds"
    assert history.epochs == optimizer.epochs == optimizer.steps // 6


def test_two_calls_for_one_model_are_refused_and_nothing_is_lost():
    """From another thread, and from a callback; also for a part of it. Afterwards it may be trained again."""
    model, optimizer = built()
    twin, other = built()
    fit(twin, other, small(200, 3), rng=0)
    begun, done, errors = threading.Event(), threading.Event(), []

    def wait(epoch, history):
        begun.set()
        if epoch == 0:
            done.wait(60)

    worker = threading.Thread(target=fit, args=(model, optimizer, small(200, 3)), kwargs={"rng": 0, "callbacks": wait})
    worker.start()
    begun.wait(60)
    try:
        part = model[:1]
        for given, used in ((model, optimizer), (part, fm.SGD(part.parameters(), lr=0.1))):
            with pytest.raises(RuntimeError, match="this model is being trained by another call of fit"):
                fit(given, used, 1) if given is model else fm.fit(
                    given, fm.MSELoss(), used, np.ones((4, 3)), np.ones((4, 9)), epochs=1
                )
        with pytest.raises(RuntimeError, match="trained by another call"):
            fm.fit_lbfgs(model, fm.CrossEntropyLoss(), *make_data(22, 3, 4))
    finally:
        done.set()
        worker.join(60)
    assert errors == []
    assert_same_bits(flat(model), flat(twin))
    with pytest.raises(RuntimeError, match="trained by another call"):
        fit(model, optimizer, 1, callbacks=lambda *_: fit(model, optimizer, 1))
    fit(model, optimizer, 1)


def test_predictions_from_eight_threads_are_right(dtype):
    model, optimizer = built(dtype=dtype)
    fit(model, optimizer, 1)
    data = [make_data(rows, 3, 4, dtype=dtype, rng=rows)[0] for rows in range(1, 9)]
    right = [model.predict(X) for X in data]
    wrong = []

    def ask(i):
        for _ in range(small(200, 3)):
            if not np.array_equal(model.predict(data[i], threads=1 + i % 2), right[i]):
                wrong.append(i)

    workers = [threading.Thread(target=ask, args=(i,)) for i in range(8)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(120)
    assert wrong == []
