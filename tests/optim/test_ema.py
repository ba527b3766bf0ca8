from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
from helpers import assert_padding_is_zero, assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net

import fastmlp as fm

#: No state, one array, two; a formula that gives one number.
KINDS = [(fm.SGD, {}), (fm.SGD, {"momentum": 0.9}), (fm.Adam, {"lr": 0.01})]


def made(kind, options, dtype, decay=0.9):
    model = make_net([3, 17, 4], dtype=dtype)
    optimizer = kind(model.parameters(), **{"lr": 0.1} | options)
    optimizer.average(decay)
    return model, optimizer


def averages(optimizer):
    return [entry["ema"] for entry in optimizer.state_dict()["state"].values()]


def values(model):
    return [parameter.data.copy() for parameter in model.parameters()]


def test_average_matches_one_by_hand(dtype, rng):
    for kind, options in KINDS:
        model, optimizer = made(kind, options, dtype)
        twin = make_net([3, 17, 4], dtype=dtype)
        alone = kind(twin.parameters(), **{"lr": 0.1} | options)
        expected = None
        for _ in range(80):  # more than are computed ahead
            for parameter, other in zip(model.parameters(), twin.parameters()):
                parameter.grad = other.grad = rng.normal(size=parameter.shape)
            optimizer.step()
            alone.step()
            now = [array.astype(np.float64) for array in values(model)]
            expected = now if expected is None else [e + 0.1 * (p - e) for e, p in zip(expected, now)]
        assert_same_bits(flat(model), flat(twin))
        for ema, other in zip(averages(optimizer), expected):
            assert_within(ema, other, 80 * eps(dtype) * 10)
        assert_padding_is_zero(model)


def test_average_is_the_same_by_hand_and_in_fit_on_any_number_of_threads(dtype):
    """And after it has been saved and loaded, pickled or copied in between."""
    X, y = make_data(40, 3, 4, dtype=dtype)
    how = {"batch_size": 7, "rng": 0}
    criterion = fm.CrossEntropyLoss()
    for kind, options in KINDS:
        model, optimizer = made(kind, options, dtype)
        eager_train(model, criterion, optimizer, X, y, epochs=4, **how)
        expected = averages(optimizer)
        assert not np.array_equal(expected[0], model[0].weight.data)

        def through_state_dict(model, optimizer, kind=kind):
            fresh = make_net([3, 17, 4], dtype=dtype, rng=9)
            fresh.load_state_dict(model.state_dict())
            other = kind(fresh.parameters())
            other.load_state_dict(optimizer.state_dict())
            return fresh, other

        ways = [
            lambda *both: both,
            lambda *both: pickle.loads(pickle.dumps(both)),
            lambda *both: copy.deepcopy(both),
            through_state_dict,
        ]
        for threads in (1, 2):
            for way in ways:
                model, optimizer = made(kind, options, dtype)
                fm.fit(model, criterion, optimizer, X, y, epochs=2, threads=threads, **how)
                model, optimizer = way(model, optimizer)
                fm.fit(model, criterion, optimizer, X, y, epochs=4, initial_epoch=2, threads=threads, **how)
                for ema, other in zip(averages(optimizer), expected):
                    assert_same_bits(ema, other)


def test_parameters_are_their_averages_within_a_block(dtype):
    X, y = make_data(20, 3, 4, dtype=dtype)
    model, optimizer = made(fm.Adam, {}, dtype)
    before = values(model)
    with optimizer.averaged():  # nothing has been averaged yet
        for now, then in zip(values(model), before):
            assert_same_bits(now, then)
    fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, rng=0)
    trained, ema = values(model), averages(optimizer)
    with pytest.raises(KeyError, match="mine"), optimizer.averaged():  # noqa: PT012
        within = values(model)
        raise KeyError("mine")
    for now, average in zip(within, ema):
        assert_same_bits(now, average)
    for now, then in zip(values(model), trained):
        assert_same_bits(now, then)


def test_average_begins_where_a_parameter_does():
    """One that is added, or trained, later than others; and one that is frozen stays as it is."""
    model = make_net([2, 3, 2])
    optimizer = fm.SGD(model[0].parameters(), lr=0.5)
    optimizer.average(0.5)
    model[0].bias.requires_grad = False
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = np.ones(parameter.shape)
    optimizer.step()
    bias = model[0].bias.data.copy()
    with optimizer.averaged():
        assert_same_bits(model[0].bias.data, bias)
    optimizer.add_param_group({"params": model[2].parameters(), "lr": 0.25})
    optimizer.step()
    weight = model[2].weight.data.copy()
    with optimizer.averaged():
        assert_same_bits(model[2].weight.data, weight)
    optimizer.step()
    with optimizer.averaged():
        assert_within(model[2].weight.data, weight - 0.125, 4 * eps(np.float32))


def test_average_may_begin_late_change_and_end(dtype):
    layer = fm.Linear(1, 1, bias=False, dtype=dtype)
    layer.weight.data, optimizer = [[8]], fm.SGD(layer.parameters(), lr=1)
    layer.weight.grad = [[1]]
    optimizer.step()
    optimizer.average(0.5)
    for weight, ema in ((6, 6), (5, 5.5), (4, 4.75)):
        optimizer.step()
        assert (layer.weight.data.item(), averages(optimizer)[0].item()) == (weight, ema)
    optimizer.average(0.75)
    optimizer.step()
    assert averages(optimizer)[0].item() == 4.75 + (3 - 4.75) / 4
    optimizer.average(None)
    optimizer.step()
    plain = optimizer.state_dict()
    assert plain.keys() == {"steps", "state", "param_groups"}
    assert plain["state"] == {}
    with pytest.raises(RuntimeError, match=r"SGD keeps no average: call average\(decay\) before the first step"):
        optimizer.averaged().__enter__()
    optimizer.average(0.5)
    optimizer.load_state_dict(plain)  # of one that kept none: the average begins anew
    optimizer.step()
    assert averages(optimizer)[0].item() == layer.weight.data.item()


class InPython(fm.Optimizer):
    def step(self):
        pass


def test_average_rejects_what_it_cannot_be():
    optimizer = fm.SGD(fm.Linear(1, 1).parameters(), lr=1)
    for decay, error in ((1, ValueError), (-0.1, ValueError), (np.nan, ValueError), ("0.9", TypeError)):
        with pytest.raises(error, match="decay must be"):
            optimizer.average(decay)
    with pytest.raises(TypeError, match=r"InPython takes its steps in Python: average\(\) needs a formula"):
        InPython(fm.Linear(1, 1).parameters(), lr=1).average()
    optimizer.average(0.5)
    optimizer.step()
    state = optimizer.state_dict()
    for wrong, error, message in (
        ({"ema_decay": 2}, ValueError, "ema_decay must be at least 0 and below 1"),
        ({"state": {0: {}, 1: {}}}, ValueError, r"state of parameter 0 must hold \['ema'\]; got \[\]"),
    ):
        with pytest.raises(error, match=message):
            optimizer.load_state_dict(state | wrong)
