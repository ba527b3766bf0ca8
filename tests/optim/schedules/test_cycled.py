"""CyclicLR and OneCycleLR. Their numbers: test_golden.py; equal bits by hand and in fit: test_promises.py."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers import assert_same_bits, flat, make_data, make_net

import fastmlp as fm

CYCLIC, ONE = {"base_lr": 0.1, "max_lr": 0.5, "step_size_up": 3}, {"max_lr": 0.5, "total_steps": 10}


def optimizer_of(groups=1, **options):
    return fm.SGD([{"params": fm.Parameter((1,))} for _ in range(groups)], **options)


@pytest.mark.parametrize(
    ("entry", "options", "error", "message"),
    [
        (
            fm.CyclicLR,
            {"mode": "square"},
            ValueError,
            "mode must be one of triangular, triangular2, exp_range, unless .*",
        ),
        (fm.CyclicLR, {"scale_mode": "steps"}, ValueError, 'scale_mode must be "cycle" or "iterations"; got \'steps\''),
        (fm.CyclicLR, {"scale_fn": 1}, TypeError, "scale_fn must be a function; got 1"),
        (fm.CyclicLR, {"step_size_up": 0}, ValueError, "step_size_up must be at least 1; got 0"),
        (fm.CyclicLR, {"step_size_down": 1.5}, TypeError, "step_size_down must be a whole number; got 1.5"),
        (fm.CyclicLR, {"base_lr": -1}, ValueError, "base_lr must be at least 0 and finite; got -1"),
        (fm.CyclicLR, {"base_lr": [0.1]}, ValueError, "base_lr must have the same length as optimizer.param_groups, 2; got 1"),
        (fm.CyclicLR, {"max_lr": [0.1, "a"]}, TypeError, r"max_lr\[1\] must be a number; got 'a'"),
        (fm.CyclicLR, {"max_momentum": 1}, ValueError, "max_momentum must be above 0 and below 1; got 1"),
        (fm.OneCycleLR, {"base_momentum": 0}, ValueError, "base_momentum must be above 0 and below 1; got 0"),
        (fm.OneCycleLR, {"total_steps": None}, ValueError, "you must define either total_steps or epochs and steps_per_epoch"),
        (fm.OneCycleLR, {"total_steps": None, "epochs": 3}, ValueError, "you must define either total_steps or epochs"),
        (fm.OneCycleLR, {"total_steps": -1}, ValueError, "total_steps must be at least 1; got -1"),
        (fm.OneCycleLR, {"pct_start": 1.5}, ValueError, "pct_start must be at least 0 and at most 1; got 1.5"),
        (
            fm.OneCycleLR,
            {"anneal_strategy": "exp"},
            ValueError,
            'anneal_strategy must be one of "cos" or "linear"',
        ),
        (fm.OneCycleLR, {"div_factor": 0}, ValueError, "div_factor must be above 0 and finite; got 0"),
        (fm.OneCycleLR, {"three_phase": "no"}, TypeError, "three_phase must be True or False; got 'no'"),
    ],
)
def test_bad_options_are_refused(entry, options, error, message):
    optimizer = optimizer_of(2, lr=0.3, momentum=0.7)
    with pytest.raises(error, match=message):
        entry(optimizer, **(CYCLIC if entry is fm.CyclicLR else ONE) | options)
    assert [(group["lr"], group["momentum"]) for group in optimizer.param_groups] == [(0.3, 0.7)] * 2


def test_optimizer_without_momentum_is_refused():
    class Plain(fm.Optimizer):
        def scalars(self, group, t, lr):
            return (lr,)

        @staticmethod
        def update(p, g, lr):
            return p - lr * g

    for entry, options in ((fm.CyclicLR, CYCLIC), (fm.OneCycleLR, ONE)):
        optimizer = Plain([fm.Parameter((1,))], lr=0.1)
        with pytest.raises(ValueError, match="must have momentum or betas for a schedule to cycle; Plain has none"):
            entry(optimizer, **options)
        schedule = entry(optimizer, **options, cycle_momentum=False)
        assert schedule.momentum(3) is None
        schedule.step()
    constant = type("Constant", (fm.SGD,), {"constant_momentum": True})([fm.Parameter((1,))])
    with pytest.raises(ValueError, match="the momentum of Constant must stay as it is: cycle_momentum=False leaves it alone"):
        fm.OneCycleLR(constant, **ONE)


def test_groups_have_their_own_ends():
    optimizer = optimizer_of(2)
    ends = {"max_lr": [0.4, 0.2], "base_momentum": [0.5, 0.6], "max_momentum": (0.8, 0.9)}
    schedule = fm.CyclicLR(optimizer, [0.1, 0.2], step_size_up=2, **ends)
    assert schedule.get_last_lr() == [0.1, 0.2]
    schedule.step(2)
    assert schedule.get_last_lr() == [0.4, 0.2]
    assert [group["momentum"] for group in optimizer.param_groups] == pytest.approx([0.5, 0.6])
    schedule = fm.OneCycleLR(optimizer, total_steps=11, pct_start=0.5, div_factor=4, **ends)
    assert schedule.get_last_lr() == pytest.approx([0.1, 0.05])
    assert [group["momentum"] for group in optimizer.param_groups] == [0.8, 0.9]
    assert schedule._rates(10) == pytest.approx([0.1e-4, 0.05e-4])


def test_beta1_is_the_momentum_of_an_optimizer_with_betas():
    optimizer = fm.Adam([fm.Parameter((1,))], betas=(0.5, 0.99))
    schedule = fm.OneCycleLR(optimizer, **ONE)
    assert optimizer.betas == (0.95, 0.99)
    schedule.step(2)
    assert optimizer.betas == (0.85, 0.99)


def test_one_cycle_at_its_ends():
    """Whatever falls on a step exactly; the last step and none after it."""
    for total in (1, 2, 10):
        for pct in (0, 0.1, 0.2, 0.5, 1):
            for three in (False, True):
                schedule = fm.OneCycleLR(optimizer_of(), 0.5, total, pct_start=pct, three_phase=three, anneal_strategy="linear")
                rates = [schedule.rate(step) for step in range(total + 1)]
                assert all(0 < rate <= 0.5 for rate in rates)
                if not three or pct <= 0.5:  # else the last phase is never reached, as in PyTorch
                    assert rates[total] == pytest.approx(min(rates)), "the smallest rate stays"
                schedule.step(total)
                for _ in range(2):
                    with pytest.raises(
                        ValueError, match=f"tried to step {total + 1} times; OneCycleLR has total_steps = {total}"
                    ):
                        schedule.step()
                    assert schedule.last_epoch == total
    by_epochs = fm.OneCycleLR(optimizer_of(), 0.5, epochs=3, steps_per_epoch=4)
    assert by_epochs.total_steps == 12


def test_fit_refuses_more_steps_than_the_cycle_has_before_it_trains():
    X, y = make_data(12, 2, 2)
    model = make_net([2, 2])
    optimizer, before = fm.SGD(model.parameters()), flat(model)
    schedule = fm.OneCycleLR(optimizer, 0.5, total_steps=10)
    with pytest.raises(ValueError, match="OneCycleLR has total_steps = 10: it counts batches, not epochs, so epochs"):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=4, batch_size=4, schedule=schedule)
    assert_same_bits(flat(model), before)


def test_fit_refuses_a_momentum_that_begins_with_zero():
    """The run would have no velocities."""
    X, y = make_data(12, 2, 2)
    model = make_net([2, 2])
    optimizer, before = fm.SGD(model.parameters()), flat(model)
    schedule = fm.OneCycleLR(optimizer, 0.5, total_steps=10)
    optimizer.momentum = 0
    with pytest.raises(ValueError, match="the schedule changes the momentum, which is 0 at the moment: begin with one above 0"):
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, schedule=schedule)
    assert_same_bits(flat(model), before)


def test_modules_in_python_get_the_momenta_too(dtype):
    """fit has another loop for them."""

    class Same(fm.Module):
        def forward(self, x):
            return x

        def backward(self, dy):
            return dy

    X, y = make_data(12, 3, 2, dtype=dtype)
    results = []
    for own in (False, True):
        linear = fm.Linear(3, 2, dtype=dtype, rng=0)
        model = fm.Sequential(linear, Same()) if own else fm.Sequential(linear)
        optimizer = fm.Adam(model.parameters())
        schedule = fm.OneCycleLR(optimizer, 0.5, epochs=3, steps_per_epoch=3)
        arguments = model, fm.CrossEntropyLoss(), optimizer, X, y
        keywords = {"epochs": 3, "batch_size": 4, "rng": 0, "schedule": schedule}
        if own:
            with pytest.warns(UserWarning, match="Same runs in Python"):
                fm.fit(*arguments, **keywords)
        else:
            fm.fit(*arguments, **keywords)
        results.append((flat(model), optimizer.lr, optimizer.betas))
    assert_same_bits(results[0][0], results[1][0])
    assert results[0][1:] == results[1][1:]


def test_scale_function_stands_for_the_mode_and_is_not_in_the_state():
    schedule = fm.CyclicLR(optimizer_of(), **CYCLIC, mode="none of these", scale_fn=lambda cycle: 1 / cycle)
    assert [round(schedule.rate(step), 3) for step in (0, 3, 6, 9)] == [0.1, 0.5, 0.1, 0.3]
    state = schedule.state_dict()
    assert "scale_fn" not in state
    other = fm.CyclicLR(optimizer_of(), 0, 1, scale_fn=lambda cycle: 1 / cycle)
    other.load_state_dict(state)
    assert other.state_dict() == state
    by_step = fm.CyclicLR(optimizer_of(), **CYCLIC, scale_fn=lambda step: math.exp(-step), scale_mode="iterations")
    assert by_step.rate(3) == pytest.approx(0.1 + 0.4 * np.exp(-3))
