from __future__ import annotations

import itertools

import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eps, flat, make_net, normal

import fastmlp as fm

OPTIONS = [
    {"momentum": momentum, "dampening": dampening, "weight_decay": decay, "nesterov": nesterov}
    for momentum, dampening, decay, nesterov in itertools.product([0, 0.9], [0, 0.3], [0, 0.02], [False, True])
    if not (nesterov and (not momentum or dampening))
]


def gradients(model, steps, rng):
    return [[normal(rng, parameter.shape, parameter.dtype) for parameter in model.parameters()] for _ in range(steps)]


def take(model, optimizer, steps):
    for step in steps:
        for parameter, gradient in zip(model.parameters(), step):
            parameter.grad = gradient
        optimizer.step()


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_sgd_matches_reference(options, dtype, rng):
    model = make_net([3, 7, 2], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.05, **options)
    expected = [parameter.data.astype(np.float64) for parameter in model.parameters()]
    velocity = [None] * len(expected)
    for step in (steps := gradients(model, 4, rng)):
        for i, gradient in enumerate(step):
            g = gradient.astype(np.float64) + options["weight_decay"] * expected[i]
            if options["momentum"]:
                previous = velocity[i]
                velocity[i] = g if previous is None else options["momentum"] * previous + (1 - options["dampening"]) * g
                g = g + options["momentum"] * velocity[i] if options["nesterov"] else velocity[i]
            expected[i] = expected[i] - 0.05 * g
    take(model, optimizer, steps)
    for parameter, values in zip(model.parameters(), expected):
        assert_within(parameter.data, values, 4 * 6 * eps(dtype) * 4)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_state_dict_round_trips(options, dtype, rng):
    model, other = make_net([3, 17, 2], dtype=dtype), make_net([3, 17, 2], dtype=dtype)
    optimizer, fresh = fm.SGD(model.parameters(), lr=0.05, **options), fm.SGD(other.parameters(), lr=0.9)
    steps = gradients(model, 5, rng)
    take(model, optimizer, steps[:3])
    state = optimizer.state_dict()
    other.load_state_dict(model.state_dict())
    fresh.load_state_dict(state)
    assert repr(fresh) == repr(optimizer)
    take(model, optimizer, steps[3:])
    for velocity in state["velocity"]:
        velocity[:] = np.nan  # what was loaded, and what was given, are copies
    take(other, fresh, steps[3:])
    assert_same_bits(flat(model), flat(other))
    assert fresh.steps == optimizer.steps == 5


def test_state_dict_before_the_first_step_has_no_velocity():
    model = make_net([3, 4])
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9, dampening=0.5)
    assert optimizer.state_dict() == {
        "lr": 0.1,
        "momentum": 0.9,
        "dampening": 0.5,
        "weight_decay": 0.0,
        "nesterov": False,
        "steps": 0,
        "velocity": [],
    }
    fm.SGD(model.parameters()).load_state_dict(optimizer.state_dict())


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: s.pop("momentum"), KeyError, "momentum"),
        (lambda s: s.pop("velocity"), KeyError, "velocity"),
        (lambda s: s.update(lr=-1), ValueError, "lr must be at least 0"),
        (lambda s: s.update(steps=-1), ValueError, "steps must be at least 0"),
        (lambda s: s["velocity"].pop(), ValueError, "one array for each of 4 parameters; got 3"),
        (lambda s: s["velocity"].reverse(), ValueError, "velocity must have the shape"),
    ],
)
def test_load_state_dict_rejects_what_does_not_fit(change, error, message, rng):
    model = make_net([3, 5, 2])
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    take(model, optimizer, gradients(model, 1, rng))
    state, before = optimizer.state_dict(), optimizer.state_dict()
    change(state)
    with pytest.raises(error, match=message):
        optimizer.load_state_dict(state)
    after = optimizer.state_dict()
    for one, other in zip(before.pop("velocity"), after.pop("velocity")):
        assert_same_bits(one, other)
    assert before == after


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -0.1}, ValueError, "lr must be at least 0 and finite; got -0.1"),
        ({"lr": np.nan}, ValueError, "lr must be at least 0 and finite; got nan"),
        ({"lr": "0.1"}, TypeError, "lr must be a number; got '0.1'"),
        ({"momentum": 1}, ValueError, "momentum must be at least 0 and below 1"),
        ({"momentum": -0.5}, ValueError, "momentum must be at least 0"),
        ({"dampening": 1.5}, ValueError, "dampening must be at least 0 and below 1"),
        ({"weight_decay": -1}, ValueError, "weight_decay must be at least 0"),
        ({"weight_decay": np.inf}, ValueError, "weight_decay must be at least 0 and finite"),
        ({"nesterov": True}, ValueError, "nesterov needs a momentum above 0 and a dampening of 0"),
        ({"nesterov": True, "momentum": 0.9, "dampening": 0.1}, ValueError, "nesterov needs"),
    ],
)
def test_sgd_rejects_bad_options(options, error, message):
    with pytest.raises(error, match=message):
        fm.SGD(make_net([2, 2]).parameters(), **options)


def test_lr_of_zero_changes_nothing(dtype, rng):
    model = make_net([3, 5, 2], dtype=dtype)
    before = flat(model)
    take(model, fm.SGD(model.parameters(), lr=0), gradients(model, 2, rng))
    assert_same_bits(flat(model), before)


def test_sgd_of_some_parameters_leaves_the_others_alone(dtype, rng):
    model = make_net([3, 17, 2], dtype=dtype)
    before = model.state_dict()
    optimizer = fm.SGD(model[2].parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for parameter, gradient in zip(model.parameters(), gradients(model, 1, rng)[0]):
        parameter.grad = gradient
    optimizer.step()
    for name, values in model.state_dict().items():
        assert np.array_equal(values, before[name]) == name.startswith("0."), name
    optimizer.zero_grad()
    assert model[0].weight.grad.all()
    assert not model[2].weight.grad.any()


def test_sgd_follows_parameters_that_move(dtype):
    """A Sequential built after the optimizer gathers the parameters elsewhere."""
    first, second = fm.Linear(2, 3, dtype=dtype), fm.Linear(3, 2, dtype=dtype)
    optimizer = fm.SGD([*first.parameters(), *second.parameters()], lr=1)
    for layer in (first, second):
        layer.weight.grad = np.ones(layer.weight.shape)
    before = [first.weight.data.copy(), second.weight.data.copy()]
    optimizer.step()
    fm.Sequential(second)  # the first one stays
    optimizer.step()
    assert_within(first.weight.data, before[0] - 2, 4 * eps(dtype) * 2)
    assert_within(second.weight.data, before[1] - 2, 4 * eps(dtype) * 2)
    optimizer.zero_grad()
    assert not second.weight.grad.any()


def test_sgd_refuses_to_lose_velocities_when_its_parameters_move():
    layer = fm.Linear(2, 3, rng=0)
    optimizer = fm.SGD(layer.parameters(), lr=0.1, momentum=0.9)
    optimizer.step()
    fm.Sequential(layer)
    with pytest.raises(RuntimeError, match="make the optimizer after the network"):
        optimizer.step()
