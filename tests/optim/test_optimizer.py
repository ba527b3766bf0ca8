from __future__ import annotations

import math

import numba
import numpy as np
import pytest
from helpers import assert_same_bits, assert_within, eager_train, eps, flat, make_data, make_net

import fastmlp as fm


class MySGD(fm.Optimizer):
    def step(self):
        for parameter in self.params:
            parameter.data -= parameter.dtype.type(self.lr) * parameter.grad


def test_written_optimizer_matches_the_built_in(dtype):
    X, y = make_data(11, 3, 4, dtype=dtype)
    keywords = {"epochs": 3, "batch_size": 4, "rng": 0}
    models = [make_net([3, 9, 4], dtype=dtype) for _ in range(3)]
    optimizers = [MySGD(models[0].parameters(), 0.5), fm.SGD(models[1].parameters(), 0.5), MySGD(models[2].parameters(), 0.5)]
    schedules = [fm.CosineAnnealingLR(optimizer, 3) for optimizer in optimizers]
    with pytest.warns(UserWarning, match="MySGD"):
        written = fm.fit(models[0], fm.CrossEntropyLoss(), optimizers[0], X, y, schedule=schedules[0], **keywords)
    built_in = fm.fit(models[1], fm.CrossEntropyLoss(), optimizers[1], X, y, schedule=schedules[1], **keywords)
    eager_train(models[2], fm.CrossEntropyLoss(), optimizers[2], X, y, schedule=schedules[2], **keywords)
    bound = 9 * (3 + 9 + 4) * eps(dtype) * 2
    assert_within(flat(models[0]), flat(models[1]), bound)
    assert_within(written.loss, built_in.loss, bound)
    assert_same_bits(flat(models[0]), flat(models[2]))
    assert optimizers[0].lr == optimizers[1].lr == optimizers[2].lr


def test_subclass_of_sgd_brings_its_own_step():
    class Backwards(fm.SGD):
        def step(self):
            self.lr = -0.0
            super().step()

    model = make_net([3, 4])
    before = flat(model)
    X, y = make_data(5, 3, 4)
    with pytest.warns(UserWarning, match="Backwards"):
        fm.fit(model, fm.CrossEntropyLoss(), Backwards(model.parameters(), 0.5), X, y, epochs=2)
    assert_same_bits(flat(model), before)


def test_zero_grad_clears_all_gradients(dtype):
    model = make_net([3, 17, 2], dtype=dtype)
    optimizer = fm.SGD(model.parameters(), lr=0.1)
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape)
    optimizer.zero_grad()
    assert not model.storage.grad.any()


def test_lr_may_be_assigned_and_is_checked():
    optimizer = fm.SGD(make_net([2, 2]).parameters(), lr=0.1)
    optimizer.lr = 0.5
    assert optimizer.lr == 0.5
    with pytest.raises(ValueError, match="lr must be at least 0"):
        optimizer.lr = -1
    assert optimizer.lr == 0.5


def test_one_parameter_is_enough():
    layer = fm.Linear(2, 2)
    assert fm.SGD(layer.weight).params == [layer.weight]


@pytest.mark.parametrize(
    ("params", "error", "message"),
    [
        ([], ValueError, "params is empty: the model has no parameters, or its iterator has been used up"),
        (iter([]), ValueError, "params is empty"),
        (fm.Sequential(fm.ReLU()).parameters(), ValueError, "params is empty"),
        ([np.zeros(3)], TypeError, r"params must be Parameters, model.parameters\(\); got a numpy.ndarray"),
        (3, TypeError, "params must be Parameters, model.parameters.*got 3"),
        ({"a": 1}, TypeError, "params must be Parameters, model.parameters.*got a str"),
        (fm.Sequential(fm.Linear(1, 1)), TypeError, r"must be Parameters, model.parameters\(\); got a Sequential itself"),
        (fm.Linear(1, 1), TypeError, r"params must be Parameters, model.parameters\(\); got a Linear itself"),
        (fm.Linear(1, 1).named_parameters(), TypeError, r"model.parameters\(\); got pairs of name and Parameter"),
    ],
)
def test_optimizer_rejects_what_are_not_parameters(params, error, message):
    with pytest.raises(error, match=message):
        fm.SGD(params, lr=0.1)


def test_optimizer_without_a_step_says_so():
    with pytest.raises(NotImplementedError, match=r"Optimizer has no step\(\)"):
        fm.Optimizer(fm.Linear(1, 1).parameters(), 0.1).step()


class Decaying(fm.Optimizer):
    """A formula whose scalars depend on the number of the step."""

    state = ("total",)

    def __init__(self, params, lr, power=0.5):
        super().__init__(params, lr=lr, power=power)

    def scalars(self, group, t, lr):
        return lr / t ** group["power"], 1.0

    @staticmethod
    def update(p, g, total, lr, one):
        total = total + one * g
        return p - lr * g, total


def test_formula_knows_the_number_of_its_step(dtype):
    """By hand, in `fit`, by turns, after loading, and when the count is put back."""
    X, y = make_data(30, 3, 4, dtype=dtype)
    keywords = {"batch_size": 4, "rng": 0}
    models = [make_net([3, 9, 4], dtype=dtype) for _ in range(4)]
    rules = [Decaying(model.parameters(), 0.5) for model in models]
    criterion = fm.CrossEntropyLoss()
    eager_train(models[0], criterion, rules[0], X, y, epochs=3, **keywords)
    fm.fit(models[1], criterion, rules[1], X, y, epochs=3, **keywords)
    eager_train(models[2], criterion, rules[2], X, y, epochs=1, **keywords)
    fm.fit(models[2], criterion, rules[2], X, y, epochs=2, initial_epoch=1, **keywords)
    eager_train(models[2], criterion, rules[2], X, y, epochs=3, first_epoch=2, **keywords)
    fm.fit(models[3], criterion, rules[3], X, y, epochs=1, **keywords)
    rules[3].step()
    rules[3].load_state_dict(rules[3].state_dict() | {"steps": 8})
    models[3].load_state_dict(models[0].state_dict())
    for model, rule in zip(models[:3], rules):
        assert_same_bits(flat(model), flat(models[0]))
        assert rule.steps == 24
    before = models[3][0].weight.data.copy()
    models[3][0].weight.grad = np.ones((9, 3))
    rules[3].step()
    assert_within(before - models[3][0].weight.data, 0.5 / np.sqrt(9) * np.ones((9, 3)), 20 * eps(dtype))
    for _ in range(200):  # more than are computed ahead
        rules[3].step()
    before = models[3][0].weight.data.copy()
    rules[3].step()
    assert_within(before - models[3][0].weight.data, 0.5 / np.sqrt(210) * np.ones((9, 3)), 900 * eps(dtype))


@pytest.mark.parametrize(
    ("scalars", "message"),
    [
        (None, "Wrong.scalars must return a tuple; got None: a return statement is missing"),
        (0.5, "Wrong.scalars must return a tuple; got 0.5"),
        ((0.5, "1"), "Wrong.scalars must return numbers, or arrays like t; got '1'"),
        ((0.5, None), "Wrong.scalars must return numbers, or arrays like t; got None"),
        ((0.5, 1j), "Wrong.scalars must return numbers, or arrays like t; got 1j"),
        ((0.5, np.ones(77)), r"Wrong.scalars must return numbers, or arrays like t; got .*\(77,\)"),
    ],
)
def test_what_scalars_returns_is_checked(scalars, message):
    class Wrong(Decaying):
        def scalars(self, group, t, lr):
            return scalars

    X, y = make_data(8, 3, 4)
    model = make_net([3, 4])
    before, rule = flat(model), Wrong(model.parameters(), 0.5)
    with pytest.raises(TypeError, match=message):
        fm.fit(model, fm.CrossEntropyLoss(), rule, X, y, epochs=1)
    with pytest.raises(TypeError, match=message):
        rule.step()
    assert_same_bits(flat(model), before)
    assert rule.steps == 0


def test_hyperparameter_of_a_group_is_checked_at_the_next_step(dtype):
    """By hand and in `fit`; and once it is right again, everything goes on."""
    X, y = make_data(8, 3, 4, dtype=dtype)
    model, twin = make_net([3, 4], dtype=dtype), make_net([3, 4], dtype=dtype)
    rule, other = (fm.SGD(network.parameters(), lr=0.1, momentum=0.9) for network in (model, twin))
    for network, optimizer in ((model, rule), (twin, other)):
        eager_train(network, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, batch_size=4)
    right = dict(rule.param_groups[0])
    for name, wrong, error in (
        ("lr", -1, ValueError),
        ("lr", None, TypeError),
        ("momentum", 1, ValueError),
        ("weight_decay", "0.1", TypeError),
        ("dampening", np.nan, ValueError),
        ("nesterov", True, None),
    ):
        rule.param_groups[0][name] = wrong
        if error is not None:
            with pytest.raises(error, match=f"{name} must be"):
                rule.step()
            with pytest.raises(error, match=f"{name} must be"):
                fm.fit(model, fm.CrossEntropyLoss(), rule, X, y, epochs=1)
        rule.param_groups[0][name] = right[name]
    assert rule.steps == other.steps == 2
    for network, optimizer in ((model, rule), (twin, other)):
        eager_train(network, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1, batch_size=4)
    assert_same_bits(flat(model), flat(twin))


def test_attribute_is_the_hyperparameter_of_all_groups():
    model = make_net([2, 3, 2])
    rule = fm.SGD([{"params": model[0].parameters()}, {"params": model[2].parameters(), "momentum": 0.5}], lr=0.1)
    rule.weight_decay = 0.25
    assert [group["weight_decay"] for group in rule.param_groups] == [0.25, 0.25]
    with pytest.raises(ValueError, match="nesterov needs a momentum above 0"):
        rule.nesterov = True
    assert [group["nesterov"] for group in rule.param_groups] == [False, False]
    assert (rule.momentum, repr(rule)) == (0.0, "SGD(2 groups)")
    with pytest.raises(AttributeError, match="'SGD' object has no attribute 'beta'"):
        rule.beta  # noqa: B018


@pytest.mark.parametrize(
    ("group", "error", "message"),
    [
        ({"params": []}, ValueError, "params is empty"),
        ({"params": [np.zeros(3)]}, TypeError, "params must be Parameters"),
        ({"params": [fm.Parameter((1,))], "learning_rate": 1}, ValueError, "SGD has no hyperparameter 'learning_rate'"),
        ({"params": [fm.Parameter((1,))], "lr": -1}, ValueError, "lr must be at least 0"),
        ({"params": [fm.Parameter((1,))], "nesterov": True}, ValueError, "nesterov needs a momentum above 0"),
    ],
)
def test_group_that_does_not_fit_is_refused(group, error, message):
    rule = fm.SGD(make_net([2, 2]).parameters(), lr=0.1)
    with pytest.raises(error, match=message):
        rule.add_param_group(group)
    with pytest.raises(error, match=message):
        fm.SGD([group], lr=0.1)
    assert len(rule.param_groups) == 1


def test_parameters_of_a_group_are_added_through_the_border():
    model = make_net([2, 2, 2])
    rule = fm.SGD(model[0].parameters(), lr=0.1)
    with pytest.raises(AttributeError, match="append"):
        rule.param_groups[0]["params"].append(model[2].weight)
    rule.add_param_group({"params": model[2].parameters(), "lr": 1})
    before = model[2].weight.data.copy()
    model[2].weight.grad = np.ones((2, 2))
    rule.step()
    assert_same_bits(model[2].weight.data, before - 1)


def test_parameters_of_both_dtypes_take_their_own_steps(rng):
    """In one optimizer, as in two."""
    widths = {"weight_decay": 0.01, "momentum": 0.9}
    nets = [[make_net([3, 5, 2], dtype=dtype, rng=i) for i, dtype in enumerate((np.float32, np.float64))] for _ in range(2)]
    together = fm.SGD([p for net in nets[0] for p in net.parameters()], lr=0.1, **widths)
    apart = [fm.SGD(net.parameters(), lr=0.1, **widths) for net in nets[1]]
    for _ in range(3):
        for one, other in zip(*nets):
            for p, q in zip(one.parameters(), other.parameters()):
                p.grad = q.grad = rng.normal(size=p.shape)
        together.step()
        for rule in apart:
            rule.step()
    for one, other in zip(*nets):
        assert_same_bits(flat(one), flat(other))
    state, parts = together.state_dict()["state"], [rule.state_dict()["state"] for rule in apart]
    for i in range(8):
        assert_same_bits(state[i]["velocity"], parts[i // 4][i % 4]["velocity"])
    together.zero_grad()
    assert not any(net.storage.grad.any() for net in nets[0])


def test_written_optimizer_may_have_names_of_its_own(dtype):
    """``self.state`` for instance, as PyTorch's optimizers do."""

    class Heavy(fm.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, lr=lr)
            self.state, self.scalars, self.rows = {}, 3, [1]

        def step(self):
            for parameter in self.params:
                velocity = self.state.setdefault(id(parameter), np.zeros_like(parameter.data))
                velocity *= 0.5
                velocity += parameter.grad
                parameter.data -= self.lr * velocity

    X, y = make_data(11, 3, 4, dtype=dtype)
    models = [make_net([3, 9, 4], dtype=dtype) for _ in range(3)]
    rules = [Heavy(models[0].parameters(), 0.1), Heavy(models[1].parameters(), 0.1)]
    rules.append(fm.SGD(models[2].parameters(), 0.1, momentum=0.5))
    with pytest.warns(UserWarning, match="Heavy"):
        fm.fit(models[0], fm.CrossEntropyLoss(), rules[0], X, y, epochs=3, batch_size=4, rng=0)
    for model, rule in zip(models[1:], rules[1:]):
        eager_train(model, fm.CrossEntropyLoss(), rule, X, y, epochs=3, batch_size=4, rng=0)
    assert_same_bits(flat(models[0]), flat(models[1]))
    assert_within(flat(models[0]), flat(models[2]), 9 * 16 * eps(dtype))
    rules[0].load_state_dict(rules[0].state_dict())


def test_what_is_assigned_in_groups_crosses_the_border():
    """At the next step, by hand and in `fit`, and where a schedule begins; nothing has moved then."""
    X, y = make_data(6, 2, 3)
    wrong = {
        "lr": (np.array([0.1, 0.2]), np.nan, "0.1", None, -1),
        "momentum": (np.array([0.1, 0.2]), np.inf, "x", True, 1.0),
        "nesterov": ("False", np.array([1, 0]), None, 2),
    }
    for name, values in wrong.items():
        for value in values:
            model = make_net([2, 5, 3])
            optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
            optimizer.step()
            before = flat(model)
            optimizer.param_groups[0][name] = value
            with pytest.raises((TypeError, ValueError), match=f"{name} must be"):
                optimizer.step()
            with pytest.raises((TypeError, ValueError), match=f"{name} must be"):
                fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=1)
            if name == "lr":
                with pytest.raises((TypeError, ValueError), match="lr must be"):
                    fm.CosineAnnealingLR(optimizer, 5)
            optimizer.param_groups[0][name] = {"lr": 0.1, "momentum": 0.9, "nesterov": False}[name]
            assert_same_bits(flat(model), before)
            optimizer.step()


def test_groups_that_were_not_added_properly_are_named():
    model = make_net([2, 5, 3])
    optimizer = fm.SGD(model.parameters(), lr=0.1, momentum=0.9)
    optimizer.param_groups.append({"params": list(fm.Linear(2, 2).parameters()), "lr": 0.1})
    with pytest.raises(ValueError, match=r"param_groups\[1\] of SGD has no 'dampening': groups are added by add_param_group"):
        optimizer.step()
    del optimizer.param_groups[1], optimizer.param_groups[0]["lr"]
    with pytest.raises(ValueError, match=r"param_groups\[0\] of SGD has no 'lr'"):
        optimizer.step()
    assert "lr=None" in repr(optimizer)
    optimizer.param_groups.clear()
    assert repr(optimizer) == "SGD(0 groups)"
    with pytest.raises(ValueError, match="the optimizer has no parameters"):
        fm.CosineAnnealingLR(optimizer, 5)


def test_options_that_need_other_arrays_leave_the_numbers_of_the_others(dtype):
    """A momentum that pauses keeps its velocity, as in PyTorch; amsgrad may begin and end late."""

    net = make_net([3, 2], dtype=dtype)
    rule = fm.SGD(net.parameters(), 0.5, momentum=0.5)
    for parameter in net.parameters():
        parameter.grad = np.ones(parameter.shape)
    for step, momentum in enumerate((0.5, 0.0, 0.5)):
        rule.momentum = momentum
        rule.step()
        velocities = [entry["velocity"] for entry in rule.state_dict()["state"].values()]
        assert len(velocities) == (2 if momentum else 0)
        assert all((array == (1, 1, 1.5)[step]).all() for array in velocities)

    net = make_net([5, 3], dtype=dtype)
    rule = fm.Adam(net.parameters(), betas=(0.5, 0.5))
    expected = {"exp_avg": 0.0, "exp_avg_sq": 0.0, "max_exp_avg_sq": 0.0}
    for gradient, amsgrad in ((4.0, False), (2.0, True), (0.0, True), (0.0, False)):
        rule.amsgrad = amsgrad
        rule.load_state_dict(rule.state_dict())  # before the array that is new has been through a step
        for parameter in net.parameters():
            parameter.grad = np.full(parameter.shape, gradient)
        rule.step()
        expected["exp_avg"] = (expected["exp_avg"] + gradient) / 2
        expected["exp_avg_sq"] = (expected["exp_avg_sq"] + gradient**2) / 2
        if amsgrad:
            expected["max_exp_avg_sq"] = max(expected["max_exp_avg_sq"], expected["exp_avg_sq"])
        for entry in rule.state_dict()["state"].values():
            assert len(entry) == 2 + amsgrad
            for name, array in entry.items():
                assert (array == expected[name]).all()


def test_steps_after_a_fit_that_needed_no_array_are_kept_and_saved(dtype):
    """The step went on with an array that nobody saved."""
    X, y = make_data(11, 3, 4, dtype=dtype)
    net = make_net([3, 4], dtype=dtype)
    rule, criterion = fm.SGD(net.parameters(), 0.1, momentum=0.5), fm.CrossEntropyLoss()
    eager_train(net, criterion, rule, X, y, epochs=1, batch_size=11, rng=0)
    before = rule.state_dict()["state"][0]["velocity"]
    rule.momentum = 0.0
    fm.fit(net, criterion, rule, X, y, epochs=1, rng=0)
    rule.momentum = 0.5
    for parameter in net.parameters():
        parameter.grad = np.zeros(parameter.shape)
    rule.step()
    assert_same_bits(rule.state_dict()["state"][0]["velocity"], before / 2)


def test_attributes_that_scalars_read_count_from_the_next_step():
    """Scalars are computed for many steps ahead."""

    class Scaled(fm.Optimizer):
        def __init__(self, params, lr):
            super().__init__(params, lr=lr)
            self.scale = self._other = 1.0

        def scalars(self, group, t, lr):
            return (lr * self.scale * self._other,)

        @staticmethod
        def update(p, g, lr):
            return p - lr * g

    layer = fm.Linear(1, 1, bias=False)
    optimizer = Scaled(layer.parameters(), lr=0.5)
    layer.weight.data[:], layer.weight.grad[:] = 0, 1
    for _ in range(5):
        optimizer.step()
    assert layer.weight.data.item() == -2.5
    optimizer.scale = 0.0
    optimizer.step()
    assert layer.weight.data.item() == -2.5
    optimizer.scale, optimizer._other = 1.0, 2.0
    optimizer.step()
    optimizer.step()
    assert layer.weight.data.item() == -4.5


def test_update_may_use_the_functions_of_fm_math_and_be_compiled_by_numba(dtype, rng):
    def rms(p, g, square, lr):
        square = 0.9 * square + 0.1 * g * g
        return p - lr * fm.math.clip(g / (fm.math.sqrt(square) + 1e-8), -1, 1), square

    def optimizer_of(formula):
        class Mine(fm.Optimizer):
            state = ("square",)

            def __init__(self, params, lr):
                super().__init__(params, lr=lr)

            def scalars(self, group, t, lr):
                return (lr,)

            update = staticmethod(formula)

        return Mine

    X, y = make_data(20, 2, 3, dtype=dtype)
    trained = []
    for formula, threads in ((rms, 1), (rms, 2), (numba.njit(rms), 1)):
        model = make_net([2, 5, 3], dtype=dtype)
        optimizer = optimizer_of(formula)(model.parameters(), lr=0.01)
        fm.fit(model, fm.CrossEntropyLoss(), optimizer, X, y, epochs=3, rng=0, threads=threads)
        trained.append(flat(model))
    assert_same_bits(trained[0], trained[1])
    assert_same_bits(trained[0], trained[2])
    for formula, message in (
        (
            lambda p, g, v, lr: (p - lr * g / math.sqrt(v), v),
            r"^update cannot be compiled: `.*math.sqrt\(v\).*fm.math",
        ),
        (lambda p, g, v, lr: (p - lr * g / np.sqrt(v), v), r"^update cannot be compiled: `.*np.sqrt\(v\).*fm.math"),
        (lambda p, g, v, lr: p, "gives a tuple of 2 numbers; got one number"),
        (lambda p, g, v, lr: None, "gives a tuple of 2 numbers; got None: a return is missing"),
    ):
        model = make_net([2, 3], dtype=dtype)
        with pytest.raises(TypeError, match=message):
            optimizer_of(formula)(model.parameters(), lr=0.1).step()


def test_state_of_parameters_that_are_added_later_is_saved(dtype):
    """They lie in the storage of others, whose state is there already."""
    model = make_net([2, 3, 2], dtype=dtype)
    optimizer = fm.SGD(model[0].parameters(), lr=0.5, momentum=0.5)
    for parameter in model.parameters():
        parameter.grad = np.ones(parameter.shape)
    optimizer.step()
    optimizer.add_param_group({"params": model[2].parameters()})
    optimizer.step()
    velocities = [entry["velocity"] for entry in optimizer.state_dict()["state"].values()]
    assert [array.flat[0] for array in velocities] == [1.5, 1.5, 1, 1]
