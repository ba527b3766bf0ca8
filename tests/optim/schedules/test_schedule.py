from __future__ import annotations

import copy
import math
import pickle

import numpy as np
import pytest
from helpers import assert_same_bits, eager_train, flat, make_data, make_net

import fastmlp as fm


def optimizer_of(lr=0.1):
    return fm.SGD(make_net([2, 2]).parameters(), lr=lr)


def test_cosine_annealing_matches_reference():
    schedule = fm.CosineAnnealingLR(optimizer_of(0.3), T_max=10, eta_min=0.1)
    for epoch in range(25):
        expected = 0.1 + 0.1 * (1 + math.cos(math.pi * epoch / 10))
        assert schedule.optimizer.lr == pytest.approx(expected, rel=1e-14)
        assert schedule.rate(epoch) == schedule.optimizer.lr
        assert schedule.get_last_lr() == [schedule.optimizer.lr]
        schedule.step()


def test_several_steps_at_once_are_the_steps():
    one, many = (fm.CosineAnnealingLR(optimizer_of(), T_max=10) for _ in range(2))
    for _ in range(7):
        one.step()
    many.step(7)
    assert one.state_dict() == many.state_dict()
    assert one.optimizer.lr == many.optimizer.lr


def test_state_dict_round_trips():
    schedule = fm.CosineAnnealingLR(optimizer_of(0.3), T_max=10, eta_min=0.1)
    schedule.step(4)
    other = fm.CosineAnnealingLR(optimizer_of(0.7), T_max=3)
    other.load_state_dict(schedule.state_dict())
    assert other.state_dict() == schedule.state_dict()
    assert other.optimizer.lr == schedule.optimizer.lr
    schedule.step()
    other.step()
    assert other.optimizer.lr == schedule.optimizer.lr


class Table(fm.LRScheduler):
    """Rates that end."""

    def __init__(self, optimizer, rates):
        self.rates = rates
        super().__init__(optimizer)

    def rate(self, epoch):
        return self.rates[epoch]


def test_state_at_the_end_of_the_rates_can_be_loaded():
    """`fit` leaves the last rate in force there."""
    ended = Table(optimizer_of(), [0.3, 0.2]).state_dict() | {"last_epoch": 2}
    other = Table(optimizer_of(), [1.0, 2.0])
    other.load_state_dict(ended)
    assert (other.last_epoch, other.rates, other.optimizer.lr) == (2, [0.3, 0.2], 0.2)
    with pytest.raises(IndexError):
        other.load_state_dict(ended | {"last_epoch": 4})
    assert (other.last_epoch, other.optimizer.lr) == (2, 0.2)
    with pytest.raises(IndexError):
        Table(optimizer_of(), [])


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("T_max"), KeyError, "does not fit CosineAnnealingLR.*T_max"),
        (lambda s: s.update(gamma=1), KeyError, "does not fit CosineAnnealingLR.*gamma"),
        (lambda s: s.update(T_max=0), ValueError, "T_max must be at least 1; got 0"),
        (lambda s: s.update(last_epoch=-4), ValueError, "last_epoch must be at least 0; got -4"),
        (lambda s: s.update(eta_min="0"), TypeError, "eta_min must be a number; got '0'"),
        (lambda s: s.update(base_lrs=[0.1, 0.2]), ValueError, "base_lrs must hold a number for each group, 1 in all; got 2"),
        (lambda s: s.update(base_lrs=[]), ValueError, "base_lrs must hold a number for each group, 1 in all; got 0"),
        (lambda s: s.update(base_lr=np.nan), ValueError, "base_lr must be at least 0 and finite; got nan"),
    ],
)
def test_load_state_dict_rejects_what_does_not_fit(change, error, message):
    schedule = fm.CosineAnnealingLR(optimizer_of(), T_max=10)
    schedule.step(3)
    before, rate = schedule.state_dict(), schedule.optimizer.lr
    state = schedule.state_dict()
    change(state)
    with pytest.raises(error, match=message):
        schedule.load_state_dict(state)
    assert schedule.state_dict() == before
    assert schedule.optimizer.lr == rate


@pytest.mark.parametrize(
    ("name", "value", "error", "message"),
    [
        ("T_max", 0, ValueError, "T_max must be at least 1; got 0"),
        ("T_max", 2.5, TypeError, "T_max must be a whole number; got 2.5"),
        ("eta_min", -1, ValueError, "eta_min must be at least 0 and finite; got -1"),
        ("last_epoch", -1, ValueError, "last_epoch must be at least 0; got -1"),
        ("last_epoch", 1.5, TypeError, "last_epoch must be a whole number; got 1.5"),
        ("interval", "batch", ValueError, "interval must be .*; got 'batch'"),
        ("base_lr", "0.1", TypeError, "base_lr must be a number; got '0.1'"),
        ("base_lr", -0.1, ValueError, "base_lr must be at least 0 and finite; got -0.1"),
        ("optimizer", None, TypeError, "optimizer must be an Optimizer of fastmlp; got a NoneType"),
    ],
)
def test_attribute_is_checked_as_the_argument_is(name, value, error, message):
    schedule = fm.CosineAnnealingLR(optimizer_of(), T_max=10)
    with pytest.raises(error, match=message):
        setattr(schedule, name, value)
    assert repr(schedule) == "CosineAnnealingLR(last_epoch=0, lr=0.1)"
    schedule.step()
    assert schedule.last_epoch == 1
    with pytest.raises(ValueError, match="last_epoch must be at least 0; got -1"):
        schedule.step(-2)
    with pytest.raises(TypeError, match=r"epochs must be a whole number; got 0.5"):
        schedule.step(0.5)  # a metric
    assert schedule.last_epoch == 1


def test_second_schedule_begins_from_the_optimizers_own_rate():
    """Not from where the first one has left it; unless another rate has been assigned since."""
    optimizer = optimizer_of(0.4)
    first = fm.CosineAnnealingLR(optimizer, T_max=10)
    first.step(10)
    assert optimizer.lr == pytest.approx(0, abs=1e-16)
    second = fm.CosineAnnealingLR(optimizer, T_max=10)
    assert second.base_lr == optimizer.lr == 0.4
    second.step(10)
    optimizer.lr = 0.2
    third = fm.CosineAnnealingLR(optimizer, T_max=10)
    assert third.base_lr == optimizer.lr == 0.2


def test_second_schedule_after_loading(dtype):
    optimizer = optimizer_of(0.4)
    fm.CosineAnnealingLR(optimizer, T_max=10).step(10)
    other = optimizer_of(7.0)
    other.load_state_dict(optimizer.state_dict())
    for rule in (other, pickle.loads(pickle.dumps(optimizer)), copy.deepcopy(optimizer)):
        assert rule.lr == pytest.approx(0, abs=1e-16)
        assert fm.CosineAnnealingLR(rule, T_max=10).base_lr == 0.4


def test_groups_begin_from_their_own_rates():
    """As PyTorch's do: each has a cosine of its own, from its rate down to `eta_min`."""
    model = make_net([2, 3, 2])
    groups = [{"params": model[0].parameters(), "lr": 0.4}, {"params": model[2].parameters(), "lr": 0.1}]
    schedule = fm.CosineAnnealingLR(fm.SGD(groups, lr=1), T_max=10, eta_min=0.02)
    for t in range(12):
        cosine = (1 + math.cos(math.pi * t / 10)) / 2
        assert schedule.get_last_lr() == pytest.approx([0.02 + 0.38 * cosine, 0.02 + 0.08 * cosine], rel=1e-14)
        assert schedule.base_lr == 0.4
        schedule.step()
    still = fm.CosineAnnealingLR(optimizer_of(0.0), T_max=10)
    still.step(3)
    assert still.get_last_lr() == [0]


@pytest.mark.parametrize(
    ("keywords", "error", "message"),
    [
        ({"T_max": 0}, ValueError, "T_max must be at least 1; got 0"),
        ({"T_max": 2.5}, TypeError, "T_max must be a whole number"),
        ({"T_max": 5, "eta_min": -1}, ValueError, "eta_min must be at least 0"),
    ],
)
def test_cosine_annealing_rejects_bad_options(keywords, error, message):
    with pytest.raises(error, match=message):
        fm.CosineAnnealingLR(optimizer_of(), **keywords)


def test_schedule_rejects_what_is_not_an_optimizer():
    with pytest.raises(TypeError, match=r"optimizer must be an Optimizer of fastmlp; got a fastmlp.*Sequential"):
        fm.CosineAnnealingLR(make_net([2, 2]), T_max=3)


class Warmup(fm.LRScheduler):
    """Begins below the optimizer's own learning rate."""

    def __init__(self, optimizer, epochs):
        self.epochs = epochs
        super().__init__(optimizer)

    def rate(self, epoch):
        return self.base_lr * min(1, (epoch + 1) / self.epochs)


def test_written_schedule_works_eagerly_and_in_fit(dtype):
    X, y = make_data(8, 2, 2, dtype=dtype)
    models = [make_net([2, 3, 2], dtype=dtype) for _ in range(3)]
    optimizers = [fm.SGD(model.parameters(), lr=0.8) for model in models]
    schedules = [Warmup(optimizers[0], 4), Warmup(optimizers[1], 4)]
    assert optimizers[0].lr == 0.2
    keywords = {"batch_size": 3, "rng": 0}
    fm.fit(models[0], fm.CrossEntropyLoss(), optimizers[0], X, y, epochs=6, schedule=schedules[0], **keywords)
    eager_train(models[1], fm.CrossEntropyLoss(), optimizers[1], X, y, epochs=6, schedule=schedules[1], **keywords)
    for epoch, rate in enumerate([0.2, 0.4, 0.8 * 0.75, 0.8, 0.8, 0.8]):
        optimizers[2].lr = rate
        fm.fit(models[2], fm.CrossEntropyLoss(), optimizers[2], X, y, epochs=epoch + 1, initial_epoch=epoch, **keywords)
    assert_same_bits(flat(models[0]), flat(models[1]))
    assert_same_bits(flat(models[0]), flat(models[2]))
    assert optimizers[0].lr == optimizers[1].lr == 0.8


def test_written_schedule_is_saved_and_copied():
    schedule = Warmup(optimizer_of(0.8), 4)
    schedule.step(2)
    other = Warmup(optimizer_of(0.8), 9)
    other.load_state_dict(schedule.state_dict())
    for twin in (other, copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        twin.step()
        assert (twin.optimizer.lr, twin.last_epoch, twin.epochs) == (0.8, 3, 4)
    assert schedule.last_epoch == 2


def test_schedule_without_a_rate_says_so():
    with pytest.raises(NotImplementedError, match=r"LRScheduler has no rate\(epoch\)"):
        fm.LRScheduler(optimizer_of())


def test_step_beyond_the_end_leaves_the_schedule_where_it_is():
    class Table(fm.LRScheduler):
        def rate(self, epoch):
            return (0.5, 0.25)[epoch]

    optimizer = fm.SGD(make_net([2, 2]).parameters())
    schedule = Table(optimizer)
    schedule.step()
    for _ in range(2):
        with pytest.raises(IndexError):
            schedule.step()
        assert (schedule.last_epoch, optimizer.lr) == (1, 0.25)


def test_groups_that_are_new_since_the_schedule_was_made_begin_from_their_rates():
    """Assigned for all groups, loaded from before there was a schedule, or of a group that was added."""
    layers = [fm.Linear(2, 3), fm.Linear(3, 2)]
    groups = [{"params": list(layer.parameters()), "lr": lr} for layer, lr in zip(layers, (0.1, 0.2))]

    def halved(prepare, made_of, ratio):
        optimizer = fm.SGD(made_of)
        before = optimizer.state_dict()
        schedule = fm.CosineAnnealingLR(optimizer, T_max=4)
        prepare(optimizer, before)
        for _ in range(2):
            schedule.step()
        assert schedule.get_last_lr() == pytest.approx([0.05, ratio * 0.05])

    halved(lambda optimizer, _: setattr(optimizer, "lr", 0.3), groups, 2)
    halved(lambda optimizer, before: optimizer.load_state_dict(before), groups, 2)
    halved(lambda optimizer, _: optimizer.add_param_group(groups[1] | {"lr": 0.4}), groups[:1], 4)
