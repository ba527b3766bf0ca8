"""Where two descriptions of things differ."""

from __future__ import annotations

import numpy as np
import pytest

import fastmlp as fm
from fastmlp import saving

pytestmark = pytest.mark.once


class Scaled(fm.Module):
    """Arguments of all kinds."""

    def __init__(self, factors=(1.0, 2.0), names=None, inner=None, function=None, table=None):
        self.factors, self.names, self.inner, self.function, self.table = factors, names, inner, function, table


def model(*modules, dtype="float32"):
    network = fm.Sequential(*modules, dtype=dtype)
    network.reset_parameters(rng=0)
    return network


def first(network):
    return fm.Linear(2, 3), *network


def test_first_difference_is_named_with_both_values():
    def difference(one, other):
        here, there = (saving.describe(thing) for thing in (one, other))
        found = saving.first_difference(here.described["model"], there.described["model"], "m", here.tensors, there.tensors)
        assert (found is None) == (
            saving.first_difference(*(d.described["model"] for d in (there, here)), "m", there.tensors, here.tensors) is None
        )
        return found and (found[0], repr(found[1]), repr(found[2]))

    def of(**options):
        return model(fm.Linear(2, 3), Scaled(**options))

    nan = float("nan")
    for one, other, expected in (
        (of(), of(), None),
        (of(), model(fm.Linear(2, 3)), ("m/1", "Scaled", "nothing")),
        (of(), model(fm.Linear(2, 3), fm.ReLU()), ("m/1", "Scaled", "ReLU")),
        (of(), model(fm.Linear(2, 4), Scaled()), ("m/0/out_features", "3", "4")),
        (model(fm.Linear(2, 3)), model(fm.Linear(2, 3), dtype="float64"), ("m/0/dtype", "'float32'", "'float64'")),
        (model(fm.Linear(2, 3)), model(fm.Linear(2, 3, bias=False)), ("m/0/bias", "True", "False")),
        (of(factors=(1.0, nan)), of(factors=(1.0, nan)), None),
        (of(factors=(1.0, 2.0)), of(factors=[1.0, 2.0]), ("m/1/factors", "(1.0, 2.0)", "nothing")),
        (of(factors=[1.0, 2.0]), of(factors=[1.0, 3.0]), ("m/1/factors/1", "2.0", "3.0")),
        (of(factors=[1.0]), of(factors=[1.0, 3.0]), ("m/1/factors: length", "1", "2")),
        (of(names={"a": 1}), of(names={"a": 2}), ("m/1/names", "{'a': 1}", "{'a': 2}")),
        (of(names={1: "a"}), of(names={1: "b"}), ("m/1/names", "[(1, 'a')]", "[(1, 'b')]")),
        (of(table=np.arange(3)), of(table=np.arange(3)), None),
        (of(table=np.arange(3)), of(table=np.arange(1, 4)), ("m/1/table", "[0, 1, 2]", "[1, 2, 3]")),
        (of(function=first), of(function=first), None),
        (of(function=first), of(function=model), ("m/1/function", "'first'", "'model'")),
        (of(inner=fm.Dropout(0.5)), of(inner=fm.Dropout(0.5)), None),
        (of(inner=fm.Dropout(0.5)), of(inner=fm.Dropout(0.25)), ("m/1/inner/p", "0.5", "0.25")),
        (of(inner=[fm.ReLU()]), of(inner=[fm.Tanh()]), ("m/1/inner/0", "ReLU", "Tanh")),
        (of(inner=fm.ReLU()), of(), ("m/1/inner", "ReLU", "None")),
    ):
        assert difference(one, other) == expected


def test_schedules_and_optimizers_are_compared():
    network = model(fm.Linear(2, 3))

    def described(schedule, **options):
        optimizer = fm.SGD(network.parameters(), **{"lr": 0.1} | options)
        return saving.describe(network, optimizer, schedule(optimizer))

    def difference(part, one, other):
        return saving.first_difference(one.described[part], other.described[part], part, one.tensors, other.tensors)

    def two(gamma):
        return lambda o: fm.SequentialLR(o, [fm.LinearLR(o), fm.ExponentialLR(o, gamma)], milestones=[3])

    one, other = described(two(0.5)), described(two(0.25), lr=0.2)
    assert difference("schedule", one, one) is None
    assert difference("schedule", one, other) == ("schedule/schedulers/1/gamma", 0.5, 0.25)
    assert difference("optimizer", one, other) == ("optimizer/lr", 0.1, 0.2)
