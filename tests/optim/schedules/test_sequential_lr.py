from __future__ import annotations

import copy
import pickle
from functools import partial

import pytest
from helpers import assert_same_bits, eager_train, flat, make_data, make_net

import fastmlp as fm


def optimizer_of(*rates):
    return fm.SGD([{"params": fm.Parameter((1,)), "lr": rate} for rate in rates or (0.5,)], momentum=0.9)


def warm(optimizer, **options):
    return fm.SequentialLR(optimizer, [partial(fm.LinearLR, total_iters=3), partial(fm.StepLR, step_size=2)], [4], **options)


def test_each_schedule_begins_at_its_milestone_with_the_groups_own_rates():
    schedule = warm(optimizer_of(0.6, 0.3))
    factors = [1 / 3, 5 / 9, 7 / 9, 1, 1, 1, 0.1, 0.1, 0.01]
    for factor in factors:
        assert schedule.get_last_lr() == pytest.approx([0.6 * factor, 0.3 * factor])
        schedule.step()


def test_interval_is_that_of_the_schedules():
    assert warm(optimizer_of()).interval == "epoch"
    one_cycle = partial(fm.OneCycleLR, max_lr=0.1, total_steps=9)
    assert fm.SequentialLR(optimizer_of(), [fm.LinearLR, one_cycle], [3]).interval == "step"
    assert fm.SequentialLR(optimizer_of(), [one_cycle], []).interval == "step"


def test_sequences_in_sequences():
    schedule = fm.SequentialLR(optimizer_of(), [warm, partial(fm.ConstantLR, factor=0.5)], [6])
    rates = [schedule.rate(t) for t in (0, 3, 5, 6)]
    assert rates == pytest.approx([0.5 / 3, 0.5, 0.5, 0.25])


@pytest.mark.parametrize("order", [0, 1], ids=["momentum later", "momentum first"])
def test_momentum_where_some_have_none(order, dtype):
    """By hand it stays as a schedule leaves it; fit has to know that."""
    X, y = make_data(12, 2, 2, dtype=dtype)
    results = []
    for train in (fm.fit, eager_train):
        model = make_net([2, 3, 2], dtype=dtype)
        optimizer = fm.SGD(model.parameters(), momentum=0.9)
        parts = [partial(fm.ExponentialLR, gamma=0.5), partial(fm.CyclicLR, base_lr=0.1, max_lr=0.3, step_size_up=3)]
        schedule = fm.SequentialLR(optimizer, parts[:: -1 if order else 1], [2])
        schedule.interval = "epoch"
        optimizer.momentum = 0.7 if order == 0 else optimizer.momentum
        train(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=4, batch_size=3, rng=0, schedule=schedule)
        results.append((model, optimizer.lr, optimizer.momentum))
    assert_same_bits(flat(results[0][0]), flat(results[1][0]))
    assert results[0][1:] == results[1][1:]


def test_state_has_that_of_the_schedules(dtype):
    schedule = warm(optimizer_of())
    schedule.schedulers[1].gamma = 0.5
    schedule.step(7)
    other = warm(optimizer_of())
    other.load_state_dict(pickle.loads(pickle.dumps(schedule.state_dict())))
    for twin in (other, copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert twin.state_dict() == schedule.state_dict()
        assert twin.get_last_lr() == schedule.get_last_lr() == [0.25]
        assert twin.schedulers[0].optimizer is twin.optimizer
    before = schedule.state_dict()
    for change, error, message in (
        (lambda s: s.update(milestones=[0]), ValueError, "each of milestones must be at least 1; got 0"),
        (lambda s: s["schedulers"][1].update(gamma=-1), ValueError, "gamma must be at least 0"),
        (lambda s: s["schedulers"].pop(), KeyError, "it is of 1 schedulers, not 2"),
        (lambda s: s.pop("last_epoch"), KeyError, "does not fit SequentialLR"),
    ):
        state = schedule.state_dict()
        change(state)
        with pytest.raises(error, match=message):
            schedule.load_state_dict(state)
        assert schedule.state_dict() == before
        assert schedule.get_last_lr() == [0.25]


def test_what_does_not_fit_is_refused():
    optimizer, other = optimizer_of(), optimizer_of()
    two = [fm.LinearLR(optimizer), fm.ConstantLR(optimizer)]
    for schedulers, milestones, error, message in (
        ([], [], ValueError, "SequentialLR expects at least one scheduler, but got no scheduler"),
        ([0.1], [], TypeError, r"schedulers\[0\] must be an LRScheduler of fastmlp; got 0.1"),
        ([two[0], fm.LinearLR(other)], [1], ValueError, r"to be of the same optimizer; not so schedulers\[1\]"),
        ([fm.ReduceLROnPlateau(optimizer)], [], ValueError, "SequentialLR does not support ReduceLROnPlateau"),
        (two, [], ValueError, "expects one scheduler more than milestones; got 2 and 0"),
        (two, [1, 2], ValueError, "expects one scheduler more than milestones; got 2 and 2"),
        (two, [0], ValueError, "each of milestones must be at least 1; got 0"),
        ([*two, two[0]], [5, 5], ValueError, r"milestones must increase; got \[5, 5\]"),
    ):
        with pytest.raises(error, match=message):
            fm.SequentialLR(optimizer, schedulers, milestones)
