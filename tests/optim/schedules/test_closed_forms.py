"""The schedules that are a line of arithmetic. Their numbers: test_golden.py, test_torch.py."""

from __future__ import annotations

import numpy as np
import pytest
from helpers import make_net

import fastmlp as fm


def optimizer_of(*rates):
    """Groups with these rates."""
    return fm.SGD([{"params": fm.Parameter((1,)), "lr": rate} for rate in rates or (0.1,)], momentum=0.9)


@pytest.mark.parametrize(
    ("name", "options", "error", "message"),
    [
        ("StepLR", {"step_size": 0}, ValueError, "step_size must be at least 1; got 0"),
        ("StepLR", {"step_size": 2, "gamma": -1}, ValueError, "gamma must be at least 0 and finite; got -1"),
        ("MultiStepLR", {"milestones": 3}, TypeError, "milestones must be a list of whole numbers; got 3"),
        ("MultiStepLR", {"milestones": [1, -2]}, ValueError, "each of milestones must be at least 0; got -2"),
        ("MultiStepLR", {"milestones": [1.5]}, TypeError, "each of milestones must be a whole number; got 1.5"),
        ("ExponentialLR", {"gamma": "0.9"}, TypeError, "gamma must be a number; got '0.9'"),
        ("ExponentialLR", {"gamma": np.inf}, ValueError, "gamma must be at least 0 and finite; got inf"),
        ("PolynomialLR", {"total_iters": 0}, ValueError, "total_iters must be at least 1; got 0"),
        ("PolynomialLR", {"power": -1}, ValueError, "power must be at least 0 and finite; got -1"),
        ("LinearLR", {"start_factor": 0}, ValueError, "start_factor must be above 0 and at most 1; got 0"),
        ("LinearLR", {"end_factor": 1.5}, ValueError, "end_factor must be at least 0 and at most 1; got 1.5"),
        ("LinearLR", {"total_iters": 2.5}, TypeError, "total_iters must be a whole number; got 2.5"),
        ("ConstantLR", {"factor": 2}, ValueError, "factor must be at least 0 and at most 1; got 2"),
        ("CosineAnnealingWarmRestarts", {"T_0": 0}, ValueError, "T_0 must be at least 1; got 0"),
        ("CosineAnnealingWarmRestarts", {"T_0": 1, "T_mult": 0}, ValueError, "T_mult must be at least 1; got 0"),
        ("CosineAnnealingWarmRestarts", {"T_0": 1, "eta_min": None}, TypeError, "eta_min must be a number; got None"),
    ],
)
def test_bad_options_are_refused_at_construction_and_later(name, options, error, message):
    entry, optimizer = getattr(fm, name), optimizer_of()
    with pytest.raises(error, match=message):
        entry(optimizer, **options)
    assert (optimizer.lr, optimizer.momentum) == (0.1, 0.9)
    schedule = entry(optimizer, **entry.cases[0])
    *_, (option, value) = options.items()  # the wrong one
    with pytest.raises(error, match=message):
        setattr(schedule, option, value)
    schedule.step()


def test_ends_of_the_formulas():
    """Powers and factors of 0, milestones at 0, more than once and in any order, restarts far away."""
    optimizer = optimizer_of(0.5)
    assert [fm.PolynomialLR(optimizer, 2, power=0).rate(t) for t in range(4)] == [0.5] * 4
    assert [fm.ConstantLR(optimizer, factor=0, total_iters=2).rate(t) for t in range(4)] == [0, 0, 0.5, 0.5]
    assert [fm.ExponentialLR(optimizer, gamma=0).rate(t) for t in range(3)] == [0.5, 0, 0]
    steps = fm.MultiStepLR(optimizer, iter((3, 0, 3)), gamma=0.5)
    assert steps.milestones == [0, 3, 3]
    assert [steps.rate(t) for t in (0, 2, 3)] == [0.25, 0.25, 0.0625]
    restarts = fm.CosineAnnealingWarmRestarts(optimizer, T_0=1, T_mult=2)
    assert restarts.rate(2**20 - 1) == 0.5
    assert 0.49 < restarts.rate(2**20) < 0.5


def test_rate_beyond_all_numbers_is_one_clear_error():
    schedule = fm.ExponentialLR(optimizer_of(), gamma=10)
    with pytest.raises(ValueError, match=r"what ExponentialLR.rate\(400\) returns, a learning rate, must be .*; got inf"):
        schedule.step(400)
    assert (schedule.last_epoch, schedule.get_last_lr()) == (0, [0.1])


def test_groups_have_their_own_rates():
    """All schedules without options of their own for each group multiply each group's rate."""
    for entry in (fm.StepLR, fm.MultiStepLR, fm.ExponentialLR, fm.PolynomialLR, fm.LinearLR, fm.ConstantLR):
        for case in entry.cases:
            schedule = entry(optimizer_of(0.4, 0.1), **case)
            for _ in range(12):
                first, second = schedule.get_last_lr()
                assert first == pytest.approx(4 * second)
                schedule.step()
    optimizer = optimizer_of(0.5)
    assert fm.LinearLR(optimizer, 0.5, total_iters=2).base_lr == 0.5
    assert fm.ConstantLR(optimizer, 0.5).base_lr == 0.5, "of the optimizer's rate, not of what the warm-up has made of it"


def test_schedule_with_momentum_of_the_users_own():
    class Warm(fm.LRScheduler):
        def rate(self, epoch):
            return self.base_lr

        def momentum(self, epoch):
            return (0.25, 0.5, 1.5, None)[epoch]

    optimizer = fm.Adam(make_net([2, 2]).parameters(), betas=(0.9, 0.99))
    schedule = Warm(optimizer)
    assert optimizer.betas == (0.25, 0.99)
    schedule.step()
    assert optimizer.betas == (0.5, 0.99)
    with pytest.raises(ValueError, match=r"what Warm.momentum\(2\) returns must be at least 0 and below 1; got 1.5"):
        schedule.step()
    schedule.step(2)
    assert optimizer.betas == (0.5, 0.99), "None leaves it alone"
