"""ReduceLROnPlateau. Its numbers: test_golden.py; saved equals live: test_promises.py."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import assert_same_bits, eager_train, flat, make_data, make_net

import fastmlp as fm


def optimizer_of(*rates):
    return fm.SGD([{"params": fm.Parameter((1,)), "lr": rate} for rate in rates or (0.5,)])


@pytest.mark.parametrize("held_out", [True, False], ids=["validation", "training"])
def test_fit_tells_the_loss_of_each_epoch(held_out, dtype):
    """On what was held out, or else in training: a schedule that is told the same by hand has the same rates."""
    X, y = make_data(24, 2, 3, dtype=dtype)
    model = make_net([2, 5, 3], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=2.0, momentum=0.9)
    options = {"patience": 0, "factor": 0.5, "threshold": 0.05}
    schedule = fm.ReduceLROnPlateau(optimizer, **options)
    keywords = {"epochs": 12, "batch_size": 4, "rng": 0, "schedule": schedule}
    keywords |= {"validation": (X[:7], y[:7])} if held_out else {}
    history = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **keywords)
    told = history.validation_loss if held_out else history.loss
    assert len(told) == 12
    other = optimizer_of(2.0)
    twin, rates = fm.ReduceLROnPlateau(other, **options), []
    for loss in told:
        rates.append(other.lr)
        twin.step(loss)
    assert 2 < len(set(rates)) < 12
    assert twin.state_dict() == schedule.state_dict()
    assert other.lr == optimizer.lr
    # And each epoch has been trained with its rate.
    again = make_net([2, 5, 3], dtype=dtype)
    optimizer = fm.SGD(again.parameters(), lr=2.0, momentum=0.9)
    for epoch, rate in enumerate(rates):
        optimizer.lr = rate
        how = {"epochs": epoch + 1, "first_epoch": epoch, "batch_size": 4, "rng": 0}
        eager_train(again, fm.CrossEntropyLoss(), optimizer, X, y, **how)
    assert_same_bits(flat(again), flat(model))


def test_interrupted_run_tells_the_epoch_that_has_ended(monkeypatch):
    from fastmlp.training.compiled import CompiledRun

    advance, calls = CompiledRun.advance, []

    def interrupted(run, last_epoch, most):
        advance(run, last_epoch, most)
        calls.append(run.epoch)
        if run.epoch == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(CompiledRun, "advance", interrupted)
    X, y = make_data(8, 2, 2)
    model = make_net([2, 2])
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    schedule = fm.ReduceLROnPlateau(optimizer)
    with pytest.raises(KeyboardInterrupt) as caught:
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=9, schedule=schedule, validation=(X, y))
    assert schedule.last_epoch == len(caught.value.history.validation_loss) == len(caught.value.history.loss) == 3
    assert schedule.best == min(caught.value.history.validation_loss)


def test_metric_that_is_not_a_number_is_no_better():
    optimizer = optimizer_of()
    schedule = fm.ReduceLROnPlateau(optimizer, patience=1, factor=0.5)
    for metric in (np.nan, np.float32(np.nan), np.array([np.nan])):
        schedule.step(metric)
    assert (optimizer.lr, schedule.best) == (0.25, np.inf)
    schedule.step(np.array(3))
    assert schedule.best == 3
    for wrong in ("0.1", None, [0.1], np.array([1.0, 2.0]), 1j):
        with pytest.raises(TypeError, match="metrics must be a number, a loss for instance; got"):
            schedule.step(wrong)
    assert schedule.last_epoch == 4
    with pytest.raises(TypeError, match="metrics"):
        schedule.step()


def test_groups_have_their_own_floors_and_begin_from_where_they_are():
    optimizer = optimizer_of(0.5, 0.1)
    schedule = fm.ReduceLROnPlateau(optimizer, patience=0, factor=0.5, min_lr=[0.2, 0])
    for metric in (1, 1, 1):
        schedule.step(metric)
    assert schedule.get_last_lr() == pytest.approx([0.2, 0.025])
    optimizer.param_groups[0]["lr"] = 0.8
    schedule.step(1)
    assert schedule.get_last_lr() == pytest.approx([0.4, 0.0125])
    optimizer.add_param_group({"params": fm.Parameter((1,))})
    with pytest.raises(ValueError, match=r"min_lr must have the same length as optimizer.param_groups, 3; got 2"):
        schedule.step(1)
    assert schedule.last_epoch == 4
    schedule.min_lr = 0.1
    schedule.step(1)
    assert schedule.last_epoch == 5


def test_bad_options_are_refused():
    for options, error, message in (
        ({"mode": "least"}, ValueError, 'mode must be "min" or "max"; got \'least\''),
        ({"factor": 1}, ValueError, "factor must be at least 0 and below 1; got 1"),
        ({"patience": -1}, ValueError, "patience must be at least 0; got -1"),
        ({"patience": 1.5}, TypeError, "patience must be a whole number; got 1.5"),
        ({"threshold": "1"}, TypeError, "threshold must be a number; got '1'"),
        ({"threshold_mode": "relative"}, ValueError, 'threshold_mode must be "rel" or "abs"; got \'relative\''),
        ({"cooldown": None}, TypeError, "cooldown must be a whole number; got None"),
        ({"min_lr": [0.1, 0.2]}, ValueError, "min_lr must have the same length as optimizer.param_groups, 1; got 2"),
        ({"min_lr": -1}, ValueError, "min_lr must be at least 0 and finite; got -1"),
        ({"eps": np.nan}, ValueError, "eps must be at least 0 and finite; got nan"),
    ):
        with pytest.raises(error, match=message):
            fm.ReduceLROnPlateau(optimizer_of(), **options)
        schedule = fm.ReduceLROnPlateau(optimizer_of())
        with pytest.raises(error, match=message):
            setattr(schedule, *next(iter(options.items())))
    with pytest.raises(ValueError, match="interval of ReduceLROnPlateau must be \"epoch\"; got 'step'"):
        schedule.interval = "step"
    with pytest.raises(TypeError, match="optimizer must be an Optimizer of fastmlp"):
        fm.ReduceLROnPlateau(None)
