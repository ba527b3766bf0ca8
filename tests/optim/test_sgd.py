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


def test_sgd_matches_reference(dtype, rng):
    for options in OPTIONS:
        check_reference(options, dtype, rng)


def check_reference(options, dtype, rng):
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


def test_state_dict_round_trips(dtype, rng):
    for options in OPTIONS:
        check_round_trip(options, dtype, rng)


def check_round_trip(options, dtype, rng):
    model, other = make_net([3, 17, 2], dtype=dtype), make_net([3, 17, 2], dtype=dtype)
    optimizer, fresh = fm.SGD(model.parameters(), lr=0.05, **options), fm.SGD(other.parameters(), lr=0.9)
    steps = gradients(model, 5, rng)
    take(model, optimizer, steps[:3])
    state = optimizer.state_dict()
    other.load_state_dict(model.state_dict())
    fresh.load_state_dict(state)
    assert repr(fresh) == repr(optimizer)
    take(model, optimizer, steps[3:])
    for entry in state["state"].values():
        entry["velocity"][:] = np.nan  # what was loaded, and what was given, are copies
    take(other, fresh, steps[3:])
    assert_same_bits(flat(model), flat(other))
    assert fresh.steps == optimizer.steps == 5


def test_state_dict_before_the_first_step_has_no_velocity():
    model = make_net([3, 4])
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9, dampening=0.5)
    group = {"lr": 0.1, "momentum": 0.9, "dampening": 0.5, "weight_decay": 0.0, "nesterov": False, "params": [0, 1]}
    group["maximize"] = False
    assert optimizer.state_dict() == {"steps": 0, "state": {}, "param_groups": [group]}
    fm.SGD(model.parameters()).load_state_dict(optimizer.state_dict())


def group_of(state):
    return state["param_groups"][0]


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (lambda s: group_of(s).pop("momentum"), KeyError, "the state_dict does not fit SGD: no 'momentum'"),
        (lambda s: s.pop("state"), KeyError, "the state_dict does not fit SGD: it has no 'state'\"$"),
        (lambda s: s.pop("param_groups"), KeyError, "the state_dict does not fit SGD: it has no 'param_groups'\"$"),
        (lambda s: s.pop("steps"), KeyError, "it has no 'steps': one of PyTorch's optimizers is not taken"),
        (lambda s: s["state"][0].pop("velocity"), ValueError, r"state of parameter 0 must hold \['velocity'\]; got \[\]"),
        (lambda s: group_of(s).update(lr=-1), ValueError, "lr must be at least 0"),
        (lambda s: group_of(s).update(momentum=1), ValueError, "momentum must be"),
        (lambda s: group_of(s)["params"].pop(), ValueError, "its groups hold other numbers of parameters"),
        (lambda s: s["param_groups"].append(group_of(s)), ValueError, "its groups hold other numbers of parameters"),
        (lambda s: s.update(steps=-1), ValueError, "steps must be at least 0"),
        (lambda s: s["state"].pop(3), KeyError, "the state_dict has no state of parameter 3"),
        (lambda s: s["state"].update({0: s["state"][1]}), ValueError, "velocity must have the shape"),
        (lambda s: s["state"][3].update(velocity=["a", "b"]), TypeError, "velocity must hold real numbers"),
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
    for i in range(4):
        assert_same_bits(before["state"][i].pop("velocity"), after["state"][i].pop("velocity"))
    assert before == after
    twin = make_net([3, 5, 2])
    reference = fm.SGD(twin.parameters(), lr=0.1, momentum=0.9)
    steps = gradients(model, 1, np.random.default_rng(20240521)) + gradients(model, 2, rng)
    take(twin, reference, steps)
    take(model, optimizer, steps[1:])
    assert_same_bits(flat(model), flat(twin))


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"lr": -0.1}, ValueError, "lr must be at least 0 and finite; got -0.1"),
        ({"lr": np.nan}, ValueError, "lr must be at least 0 and finite; got nan"),
        ({"lr": "0.1"}, TypeError, "lr must be a number; got '0.1'"),
        ({"momentum": 1}, ValueError, "momentum must be at least 0 and below 1"),
        ({"momentum": -0.5}, ValueError, "momentum must be at least 0"),
        ({"dampening": 1.5}, ValueError, "dampening must be at least 0 and at most 1"),
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


def test_velocities_come_along_where_parameters_move(dtype, rng):
    """Into a network, out of one that is gone, and where one of them gets another neighbour."""
    model, layers = make_net([3, 5, 2], dtype=dtype), list(make_net([3, 5, 2], dtype=dtype))
    steps = gradients(model, 4, rng)
    alike = [fm.SGD(model.parameters(), lr=0.1, momentum=0.9)]
    parameters = [parameter for layer in layers for parameter in layer.parameters()]
    alike.append(fm.SGD(parameters, lr=0.1, momentum=0.9))
    for number, step in enumerate(steps):
        if number == 1:
            network = fm.Sequential(layers[0], dtype=dtype)
        elif number == 2:
            del network
            network = fm.Sequential(*layers, dtype=dtype)
        elif number == 3:
            network = fm.Sequential(network, fm.Linear(2, 1, dtype=dtype), dtype=dtype)
        take(model, alike[0], [step])
        for parameter, gradient in zip(parameters, step):
            parameter.grad = gradient
        alike[1].step()
    for parameter, other in zip(model.parameters(), parameters):
        assert_same_bits(parameter.data, other.data)
    first, second = (optimizer.state_dict() for optimizer in alike)
    for i in range(4):
        assert_same_bits(first["state"][i]["velocity"], second["state"][i]["velocity"])


def test_momentum_may_be_turned_on_and_off(dtype, rng):
    """The velocity is of the gradients since it was turned on."""
    model, twin = make_net([3, 5, 2], dtype=dtype), make_net([3, 5, 2], dtype=dtype)
    steps = gradients(model, 4, rng)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    take(model, optimizer, steps[:2])
    optimizer.momentum = 0.5
    assert optimizer.state_dict()["state"] == {}
    take(model, optimizer, steps[2:])
    assert optimizer.state_dict()["state"][0]["velocity"].shape == (5, 3)
    take(twin, fm.SGD(twin.parameters(), lr=0.1), steps[:2])
    expected = [p.data - 0.1 * (g2 + (g3 + 0.5 * g2)) for p, g2, g3 in zip(twin.parameters(), steps[2], steps[3])]
    for parameter, values in zip(model.parameters(), expected):
        assert_within(parameter.data, values, 20 * eps(dtype))


def test_maximize_is_a_step_by_the_gradient_of_the_other_sign(dtype, rng):
    for options in OPTIONS:
        up, down = make_net([3, 5, 2], dtype=dtype), make_net([3, 5, 2], dtype=dtype)
        steps = gradients(up, 3, rng)
        take(up, fm.SGD(up.parameters(), lr=0.05, **options, maximize=True), steps)
        take(down, fm.SGD(down.parameters(), lr=0.05, **options), [[-g for g in step] for step in steps])
        assert_same_bits(flat(up), flat(down))
