from __future__ import annotations

import copy
import pickle

import pytest

import fastmlp as fm


def optimizer_of(*rates):
    return fm.SGD([{"params": fm.Parameter((1,)), "lr": rate} for rate in rates])


def halved(epoch):
    return 0.5**epoch


def test_one_function_for_each_group():
    by_lambda = fm.LambdaLR(optimizer_of(0.4, 0.1), [halved, lambda epoch: 1 + epoch])
    by_factors = fm.MultiplicativeLR(optimizer_of(0.4, 0.1), [lambda _: 0.5, lambda epoch: (1 + epoch) / epoch])
    for t in range(5):
        assert by_lambda.get_last_lr() == pytest.approx([0.4 * 0.5**t, 0.1 * (1 + t)])
        assert by_factors.get_last_lr() == pytest.approx(by_lambda.get_last_lr())
        by_lambda.step()
        by_factors.step()


def test_factors_are_asked_for_once_and_forgotten_with_the_function():
    asked = []
    schedule = fm.MultiplicativeLR(optimizer_of(1.0), lambda epoch: asked.append(epoch) or 0.5)
    schedule.step(3)
    assert (schedule.rate(1), schedule.rate(3), schedule.rate(2)) == (0.5, 0.125, 0.25)
    assert asked == [1, 2, 3]
    schedule.lr_lambda = lambda _: 0.1
    assert schedule.rate(2) == pytest.approx(0.01)


@pytest.mark.parametrize("entry", [fm.LambdaLR, fm.MultiplicativeLR])
def test_functions_are_not_in_the_state_but_in_copies(entry):
    schedule = entry(optimizer_of(0.4), halved)
    schedule.step(3)
    state = schedule.state_dict()
    assert state == {"base_lrs": [0.4], "base_lr": 0.4, "last_epoch": 3}
    other = entry(optimizer_of(7.0), halved)
    other.load_state_dict(state)
    for twin in (other, copy.deepcopy(schedule), pickle.loads(pickle.dumps(schedule))):
        assert twin.get_last_lr() == schedule.get_last_lr()
        twin.step()
        assert twin.get_last_lr()[0] == entry(optimizer_of(0.4), halved).rate(4)


@pytest.mark.parametrize("entry", [fm.LambdaLR, fm.MultiplicativeLR])
def test_bad_functions_are_refused(entry):
    for wrong, error, message in (
        (0.5, TypeError, "lr_lambda should be a function, but got 0.5"),
        ([halved, 0.5], TypeError, "lr_lambda should be a function, but got 0.5"),
        ([halved], ValueError, "lr_lambda must have the same length as optimizer.param_groups, 2; got 1"),
        (lambda epoch: None if epoch else 1, TypeError, r"lr_lambda\(1\) must return a number; got None: a return statement"),
        (lambda epoch: -epoch, ValueError, r"what lr_lambda\(1\) returns must be at least 0 and finite; got -1"),
    ):
        with pytest.raises(error, match=message):
            entry(optimizer_of(0.1, 0.1), wrong).step()
