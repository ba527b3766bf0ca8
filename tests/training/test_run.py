"""Where a run is: what has been counted, and which rates the steps have."""

from __future__ import annotations

import sys

import numpy as np
import pytest
from helpers import LOSSES, assert_same_bits, flat, make_data, make_net

import fastmlp as fm
from fastmlp.training.data import Data
from fastmlp.training.inputs import Rows
from fastmlp.training.run import Rates, Run


def optimizer_of(*rates):
    groups = [{"params": fm.Parameter((1,)), "lr": rate} for rate in rates or (0.1,)]
    return fm.SGD(groups)


class Table(fm.LRScheduler):
    """A list of rates, under a name that the base class has no say in."""

    def __init__(self, optimizer, rates, interval="epoch"):
        self.rates, self.interval = rates, interval
        super().__init__(optimizer)

    def rate(self, epoch):
        return self.rates[epoch]


def run_of(batches=3, rows=10, first_epoch=0, schedule=None):
    optimizer = schedule.optimizer if schedule else optimizer_of()
    data = Data(Rows(np.empty((rows, 1)), np.empty(rows), None), 4, 4, batches, rows, False, 0, 100)
    return Run(data, first_epoch, Rates(optimizer, schedule, first_epoch, batches))


def test_count_within_an_epoch():
    run = run_of()
    run._count(2, [5.0])
    assert (run.epoch, run.batch, run.losses) == (0, 2, [])
    run._count(1, [8.0, 0.0])
    assert (run.epoch, run.batch, run.losses) == (1, 0, [0.8])


def test_count_over_several_epochs():
    run = run_of(first_epoch=7)
    run._count(8, [10.0, 20.0, 1.0])
    assert (run.epoch, run.batch, run.losses) == (9, 2, [1.0, 2.0])
    run._count(1, [5.0, 0.0])
    assert (run.epoch, run.batch, run.losses) == (10, 0, [1.0, 2.0, 0.5])


def test_count_of_no_steps_changes_nothing():
    run = run_of()
    run._count(1, [5.0])
    run._count(0, [0.0])
    run._count(2, [10.0, 0.0])
    assert run.losses == [1.0]


def test_count_keeps_the_schedule_in_step():
    for interval, expected in (("epoch", [0, 0, 2, 3]), ("step", [1, 2, 8, 9])):
        run = run_of(schedule=Table(optimizer_of(), np.linspace(0.1, 0.9, 40).tolist(), interval))
        schedule = run.rates.schedule
        for steps, unit in zip((1, 1, 6, 1), expected):
            run._count(steps, [1.0] * 9)
            assert schedule.last_epoch == unit
            assert schedule.optimizer.lr == schedule.rates[unit]


def test_advance_is_given_by_a_subclass():
    with pytest.raises(NotImplementedError):
        run_of().advance(1)


def test_rates_without_a_schedule_are_the_optimizers():
    optimizer = optimizer_of(0.5, 0.25)
    rates = Rates(optimizer, None, 3, 4)
    np.testing.assert_array_equal(rates.of_steps(5, 2, 3), [[0.5] * 3, [0.25] * 3])
    assert rates.of_steps(5, 2, 0).shape == (2, 0)
    optimizer.param_groups[1]["lr"] = 0.125
    np.testing.assert_array_equal(rates.of_steps(5, 2, 1), [[0.5], [0.125]])


def test_rates_of_epochs_and_steps():
    table = [float(i) for i in range(1, 30)]
    by_epoch = Rates(optimizer_of(), Table(optimizer_of(), table), 0, 3)
    np.testing.assert_array_equal(by_epoch.of_steps(1, 2, 5), [[2, 3, 3, 3, 4]])
    by_step = Rates(optimizer_of(), Table(optimizer_of(), table, "step"), 0, 3)
    np.testing.assert_array_equal(by_step.of_steps(1, 2, 5), [[6, 7, 8, 9, 10]])
    assert by_step.of_steps(1, 2, 0).shape == (1, 0)
    groups = optimizer_of(2.0, 1.0)
    np.testing.assert_array_equal(Rates(groups, Table(groups, table), 0, 3).of_steps(0, 2, 2), [[1, 2], [1, 2]])


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_schedule_that_has_begun_goes_on_and_a_fresh_one_begins_where_the_run_does(interval):
    batches = 3
    unit = 1 if interval == "epoch" else batches
    table = [float(i) for i in range(1, 99)]
    fresh = Rates(optimizer_of(), Table(optimizer_of(), table, interval), 5, batches)
    assert fresh.of_steps(5, 0, 1).tolist() == [[table[5 * unit]]]
    begun = Table(optimizer_of(), table, interval)
    begun.step(5 * unit)
    assert Rates(begun.optimizer, begun, 5, batches).of_steps(5, 0, 1).tolist() == [[table[5 * unit]]]
    assert Rates(begun.optimizer, begun, 0, batches).of_steps(0, 0, 1).tolist() == [[table[5 * unit]]]
    assert Rates(begun.optimizer, begun, 0, batches).of_steps(2, 1, 1).tolist() == [[table[7 * unit + (unit > 1)]]]


# The same through `fit`.


def trained(schedule_of, epochs=6, *, python=False, dtype=np.float32, momentum=0.9, **keywords):
    """Loss, schedule and parameters of a run of three steps an epoch."""
    X, y = make_data(12, 2, 3, dtype=dtype)
    model = make_net([2, 5, 3], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=momentum)
    schedule = schedule_of(optimizer)
    keywords = {"epochs": epochs, "batch_size": 4, "rng": 0, "schedule": schedule} | keywords
    history = fm.fit(model, LOSSES["cross_entropy"](), optimizer, X, y, **keywords)
    return model, optimizer, schedule, history


def by_hand(rates, dtype=np.float32, momentum=0.9, first_epoch=0):
    """Three steps an epoch with these rates."""
    X, y = make_data(12, 2, 3, dtype=dtype)
    model = make_net([2, 5, 3], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=momentum)
    for step, rate in enumerate(rates):
        optimizer.lr = rate
        epoch, batch = divmod(step, 3)
        criterion, rows = fm.CrossEntropyLoss(), order_of(first_epoch + epoch, 12)[4 * batch : 4 * batch + 4]
        criterion(model(X[rows]), y[rows])
        optimizer.zero_grad()
        model.backward(criterion.backward())
        optimizer.step()
    return model


def order_of(epoch, rows):
    from fastmlp.kernels.shuffle import epoch_order

    order = np.arange(rows)
    epoch_order(order, int(np.random.default_rng(0).integers(2**62)), epoch)
    return order


def test_rates_of_a_run_are_those_of_the_schedule(dtype):
    table = [0.1, 0.5, 0.0, 0.3]
    model, optimizer, schedule, _ = trained(lambda o: Table(o, table), 4, dtype=dtype)
    assert_same_bits(flat(model), flat(by_hand(np.repeat(table, 3), dtype)))
    assert (schedule.last_epoch, optimizer.lr) == (4, 0.3), "beyond the end, the last rate stays in force"
    table = np.linspace(0.01, 0.5, 12).tolist()
    model, optimizer, schedule, _ = trained(lambda o: Table(o, table, "step"), 4, dtype=dtype)
    assert_same_bits(flat(model), flat(by_hand(table, dtype)))
    assert (schedule.last_epoch, optimizer.lr) == (12, table[-1])


@pytest.mark.parametrize("interval", ["epoch", "step"])
def test_run_in_parts_has_the_rates_of_the_whole(interval, dtype):
    """A fresh schedule with `initial_epoch`, one that goes on with it, and one that goes on without it."""
    T_max = 6 if interval == "epoch" else 18

    def cosine(optimizer):
        schedule = fm.CosineAnnealingLR(optimizer, T_max)
        schedule.interval = interval
        return schedule

    whole, optimizer, schedule, history = trained(cosine, dtype=dtype)
    assert optimizer.lr == pytest.approx(0, abs=1e-15)
    X, y = make_data(12, 2, 3, dtype=dtype)
    for again in (True, False):
        model, optimizer, schedule, first = trained(cosine, 2, dtype=dtype)
        if again:  # made anew, as after loading
            optimizer.lr = 0.1
            schedule = cosine(optimizer)
        keywords = {"epochs": 6, "initial_epoch": 2, "batch_size": 4, "rng": 0, "schedule": schedule}
        second = fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, **keywords)
        assert first.loss + second.loss == history.loss
        assert_same_bits(flat(model), flat(whole))
        assert schedule.last_epoch == T_max
    model, optimizer, schedule, _ = trained(cosine, 2, dtype=dtype)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=4, batch_size=4, rng=1, schedule=schedule)
    assert schedule.last_epoch == T_max
    assert optimizer.lr == pytest.approx(0, abs=1e-15)


def test_schedule_in_another_place_than_the_run_is_refused():
    def begun(optimizer, epochs, interval="epoch"):
        schedule = fm.CosineAnnealingLR(optimizer, 30)
        schedule.interval = interval
        schedule.step(epochs)
        return schedule

    with pytest.raises(ValueError, match=r"initial_epoch is 2, but the schedule has done 3 epochs: .*without initial_epoch, 6"):
        trained(lambda o: begun(o, 3), initial_epoch=2)
    with pytest.raises(ValueError, match=r"initial_epoch is 2, but the schedule has done 1.33333 epochs"):
        trained(lambda o: begun(o, 4, "step"), initial_epoch=2)
    trained(lambda o: begun(o, 6, "step"), initial_epoch=2)


@pytest.mark.parametrize("interval", ["epoch", "step"])
@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        (-0.1, ValueError, r"what Table.rate\(2\) returns, a learning rate, must be at least 0 and finite; got -0.1"),
        (np.nan, ValueError, r"Table.rate\(2\) .*must be at least 0 and finite; got nan"),
        (None, TypeError, r"Table.rate\(2\) must return a number; got None: a return statement is missing"),
        ("0.1", TypeError, r"Table.rate\(2\) .*must be a number; got '0.1'"),
        ([0.1], TypeError, r"Table.rate\(2\) .*must be a number; got \[0.1\]"),
        (1j, TypeError, r"Table.rate\(2\) .*must be a number"),
        ("end", IndexError, "list index out of range"),
    ],
)
def test_mistake_of_a_schedule_shows_before_anything_is_trained(wrong, error, message, interval, monkeypatch):
    table = [0.1, 0.2] if wrong == "end" else [0.1, 0.2, wrong] + [0.1] * 30
    X, y = make_data(12, 2, 3)
    model = make_net([2, 5, 3])
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    schedule, before = Table(optimizer, table, interval), flat(model)
    arguments = model, fm.CrossEntropyLoss(), optimizer, X, y
    keywords = {"epochs": 6, "batch_size": 4, "rng": 0, "schedule": schedule}
    with pytest.raises(error, match=message):
        fm.fit(*arguments, **keywords)
    assert_same_bits(flat(model), before)
    assert (optimizer.steps, schedule.last_epoch, optimizer.lr) == (0, 0, 0.1)
    assert optimizer.state_dict()["state"] == {}
    # And one that nobody has looked for leaves what has been trained, with a history of it.
    monkeypatch.setattr(sys.modules["fastmlp.training.fit"], "RATES_CHECKED", 0)  # the package has the function by that name
    monkeypatch.setattr("fastmlp.training.compiled.CompiledRun._steps", property(lambda _: 1, lambda *_: None), raising=False)
    with pytest.raises(error, match=message) as caught:
        fm.fit(*arguments, **keywords)
    done = 2 if interval == "step" else 6
    assert optimizer.steps == done
    assert len(caught.value.history.loss) == done // 3
    assert schedule.last_epoch == 2
    assert_same_bits(flat(model), flat(by_hand(np.repeat([0.1, 0.2], 3 if interval == "epoch" else 1))))
